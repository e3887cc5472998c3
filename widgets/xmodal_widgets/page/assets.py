"""The JavaScript and CSS of the view.

A widget's module travels as one text. The sources are ES modules that import each other; :func:`script` resolves
their imports when the package is used, so that there is no build step and no built file that could be older than its
sources. Each module becomes a function of its own, which returns what it exports: names stay inside their file, as a
browser that loads the files one by one would have it.
"""

from __future__ import annotations

import posixpath
import re
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "js"
ENTRY = "view/view.js"

_IMPORT = re.compile(r'^import \{([\w\s,]+)\} from "([./\w-]+)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async function|function|const|class) (\w+))", re.MULTILINE)
_OTHER = re.compile(r"^(?:import|export)\b.*", re.MULTILINE)


@cache
def script() -> str:
    """The module's source without its export; it defines ``render({ model, el })``."""
    return bundle(FOLDER, ENTRY) + "\nconst { render } = view_view;\n"


@cache
def module() -> str:
    """The ES module that anywidget loads."""
    return script() + "export default { render };\n"


@cache
def style() -> str:
    """The style sheet."""
    return (FOLDER / "view" / "view.css").read_text(encoding="utf-8")


def bundle(folder: Path, entry: str) -> str:
    """The module ``entry`` and all that it imports as one script, each after those it needs.

    Of the syntax of modules it knows what the house uses: ``import { a, b } from "./file.js";`` and ``export`` before
    a function, const or class.

    Raises:
        ValueError: another form of import or export, a circle, a name that the other module does not export.
    """
    exports: dict[str, list[str]] = {}
    pieces: list[str] = []
    _add(folder, entry, (), exports, pieces)
    return "\n".join(pieces)


def _add(folder: Path, name: str, above: tuple[str, ...], exports: dict[str, list[str]], pieces: list[str]) -> None:
    if name in above:
        raise ValueError(f"modules import each other in a circle: {' -> '.join([*above, name])}.")
    if name in exports:
        return
    source = (folder / name).read_text(encoding="utf-8")
    head: list[str] = []
    for names, place in _IMPORT.findall(source):
        wanted = [word.strip() for word in names.split(",") if word.strip()]
        other = posixpath.normpath(posixpath.join(posixpath.dirname(name), place))
        _add(folder, other, (*above, name), exports, pieces)
        if missing := [word for word in wanted if word not in exports[other]]:
            raise ValueError(f"{name} imports {', '.join(missing)}, which {other} does not export.")
        head.append(f"const {{ {', '.join(wanted)} }} = {_variable(other)};")
    body = _IMPORT.sub("", source)
    own = _EXPORT.findall(body)
    body = _EXPORT.sub("", body)
    if other_form := _OTHER.search(body):
        raise ValueError(f"{name}: the form {other_form.group()!r} is not known here; import {{ names }} from a file.")
    exports[name] = own
    inside = "\n".join([*head, body.strip(), f"return {{ {', '.join(own)} }};"])
    pieces.append(f"// {name}\nconst {_variable(name)} = (() => {{\n{inside}\n}})();\n")


def _variable(name: str) -> str:
    return re.sub(r"\W", "_", name.removesuffix(".js"))
