"""Which names the cells of a lesson bind and read, and which cells a piece of code needs before it can run."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Container, Iterable

MAGIC = re.compile(r"^([ \t]*)[%!].*$", re.M)


def tree(source: str) -> ast.Module:
    """A cell's code, magics left out."""
    return ast.parse(MAGIC.sub(r"\1pass", source))


def binds(source: str) -> set[str]:
    """Names that a cell gives a value at its top level (in loops and with-blocks too), not inside functions."""
    found: set[str] = set()

    def walk(node: ast.AST) -> None:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
            return
        if isinstance(node, (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
            return
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            found.update((alias.asname or alias.name).split(".")[0] for alias in node.names)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        for child in ast.iter_child_nodes(node):
            walk(child)

    walk(tree(source))
    return found


def needs(source: str) -> set[str]:
    """Names that a cell reads before it has bound them itself, statement by statement."""
    bound, found = set(dir(builtins)), set()
    for statement in tree(source).body:
        stored = {n.id for n in ast.walk(statement) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        stored |= {a.arg for a in ast.walk(statement) if isinstance(a, ast.arg)}
        stored |= {
            n.name
            for n in ast.walk(statement)
            if isinstance(n, (ast.FunctionDef, ast.ClassDef, ast.ExceptHandler)) and n.name
        }
        stored |= binds(ast.unparse(statement))
        read = {n.id for n in ast.walk(statement) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
        if isinstance(statement, ast.AugAssign) and isinstance(statement.target, ast.Name):
            read.add(statement.target.id)
            stored.discard(statement.target.id)
        # A name on both sides of an assignment (x = f(x)) is read first.
        both = {
            n.id
            for n in ast.walk(getattr(statement, "value", None) or ast.Pass())
            if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)
        }
        targets = {t.id for t in getattr(statement, "targets", []) if isinstance(t, ast.Name)}
        found |= (read - bound - stored) | ((both & targets) - bound)
        bound |= stored
    return found


def slice_for(source: str, cells: Iterable[str], effects: Container[str] = ()) -> list[str]:
    """The cells, in their order, that ``source`` needs: those that bind what it reads, and what these read in turn.

    ``effects`` are cells that change what others have bound (write into a folder, end a process): they come along.
    """
    cells = list(cells)
    wanted, taken = needs(source), set()
    for i in range(len(cells) - 1, -1, -1):
        if binds(cells[i]) & wanted or (cells[i] in effects and needs(cells[i]) & wanted):
            taken.add(i)
            wanted |= needs(cells[i])
    return [cells[i] for i in sorted(taken)]
