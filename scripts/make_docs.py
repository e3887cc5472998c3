"""Build the static site (``make docs``): API reference, lessons with live views, ledger, architecture.

python scripts/make_docs.py [--out site] [--keep-outputs]

Lessons are run, two at a time, and each live view is exported as a page of its own, which the lesson shows in a frame:
its sliders move without a kernel. With ``--keep-outputs`` lessons are as committed, with still pictures. A notebook
that raises is shown as it was saved, and a file that is no notebook is left out; both are named at the end. Every link
inside the site is checked, and that no page asks another server for anything.
"""

from __future__ import annotations

import argparse
import ast
import base64
import html
import importlib
import inspect
import io
import re
import sys
import typing
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path
from types import ModuleType
from urllib.parse import quote, unquote, urlsplit

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbconvert import HTMLExporter

ROOT = Path(__file__).resolve().parent.parent
PAGES = {
    "README.md": "index", "CLAIMS.md": "CLAIMS", "CLAIMS_AVMNIST.md": "CLAIMS_AVMNIST",
    "CLAIMS_EMOJI.md": "CLAIMS_EMOJI", "CLAIMS_SHAPES.md": "CLAIMS_SHAPES",
    "CLAIMS_ESC10.md": "CLAIMS_ESC10", "CLAIMS_NLVR.md": "CLAIMS_NLVR",
    "CHANGELOG.md": "CHANGELOG", "CONTRIBUTING.md": "CONTRIBUTING", "docs/architecture.md": "architecture",
    "docs/own_panels.md": "own_panels", "docs/reliability.md": "reliability", "docs/security.md": "security",
    "docs/device.md": "device", "docs/glossary.md": "glossary", "docs/class.md": "class", "docs/speed.md": "speed",
}  # fmt: skip
FILES = ("CITATION.cff", "docs/*.png", "docs/*.svg", "docs/*.gif")  # what the pages point to, as it is
# Run before a lesson: a view shows itself as the page that to_html writes, in a frame as high as the view.
EXPORT = """
_site_, _name_, _shown_ = {folder!r}, {name!r}, []
def _exported(self, **kwargs):
    import pathlib
    _shown_.append(self)
    page = pathlib.Path(_site_) / "views" / f"{{_name_}}-{{len(_shown_)}}.html"
    self.to_html(page)
    return {{"text/html": {frame!r}.format(page.name), "text/plain": "live view"}}, {{}}
import xmodal_widgets
xmodal_widgets.SweepView._repr_mimebundle_ = _exported
del xmodal_widgets.SweepView._ipython_display_  # which shows the live view first
"""
# A view is as tall as its window lets it be, so a frame that only followed it would grow with it: one screen is most.
TALL = "Math.min(this.contentDocument.body.offsetHeight + 24, 0.92 * window.innerHeight)"
FIT = f"new ResizeObserver(() => this.style.height = {TALL} + 'px')"
FRAME = (
    '<iframe style="width:100%;height:46em;border:0" title="live view" loading="lazy" src="views/{}" '
    f'onload="try {{{{ {FIT}.observe(this.contentDocument.body) }}}} catch (error) {{{{}}}}"></iframe>'
)
# A diagram follows JupyterLab's theme, which the page's body names.
DARK = "(prefers-color-scheme: dark)"
TELLS = f"""<script>if (matchMedia("{DARK}").matches) document.body.dataset.jpThemeLight = "false"</script>"""
FORMULA = ".formula { filter: invert(1); mix-blend-mode: screen }"  # a picture of black letters on white
MOST = 3_000_000  # bytes of a page

# Not for readers of the reference: helpers, the command, and the files behind a face, whose page shows their names.
INSIDE = (
    "utils", "app", r"instruments\.\w+\.\w+", r"(losses|sweeps)\.\w+", r"training\.(?!recipes?\b|terms\b)\w+",
    r"claims\.(?!claim\b|verdicts\b|published\b)\w+", r"data\.datasets\.(reading|own)", r"data\.(doors|labels|drawing)",
    r"models\.(modules|copies|coarse|pretrained|stacked)", r"papers\.\w+\.(method|theory|claims|worlds)\.\w+",
)  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "site")
    parser.add_argument("--keep-outputs", action="store_true")
    asked = parser.parse_args()
    (asked.out / "views").mkdir(parents=True, exist_ok=True)
    for old in (asked.out / "views").glob("*.html"):  # of lessons that had more views, or other names
        old.unlink()
    with ProcessPoolExecutor(2) as pool:
        at_work = [
            pool.submit(lesson, path, asked.out / f"{path.stem}.html", live=not asked.keep_outputs)
            for path in sorted(
                _notebooks()[0], key=_work, reverse=True
            )  # the longest first, so that none is waited for
        ]
        landing(asked.out)
        warned = reference(asked.out / "api")
        for source, name in PAGES.items():
            if (ROOT / source).is_file():
                page(ROOT / source, asked.out / f"{name}.html")
        raised = [*_notebooks()[1], *(told for done in at_work if (told := done.result()))]
    for source in (path for pattern in FILES for path in ROOT.glob(pattern)):
        target = asked.out / source.relative_to(ROOT)
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(source.read_bytes())
    wrong = [*warned, *dead_links(asked.out), *requests(asked.out), *heavy(asked.out)]
    print("\n".join(wrong) or f"every link inside {asked.out.name}/ leads somewhere, no page asks elsewhere")
    print("\n".join(raised), file=sys.stderr)
    return int(bool(wrong))


@cache
def _notebooks() -> tuple[list[Path], list[str]]:
    """What lies in notebooks/ and can be read, the user's own too; and a line about each file that cannot."""
    good, told = [], []
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        try:
            nbformat.read(path, as_version=4)
            good.append(path)
        except (ValueError, nbformat.ValidationError) as error:  # half a file, no JSON, no notebook
            told.append(f"{path.name} is no notebook ({type(error).__name__}); it is left out.")
    return good, told


def _work(path: Path) -> int:
    """Seconds of one core that a lesson takes, as docs/class.md has them; of a user's own nothing is known."""
    noted = re.search(rf"^\| {re.escape(path.stem)} \| (\d+) \|", (ROOT / "docs/class.md").read_text("utf-8"), re.M)
    return int(noted[1]) if noted else 0


def landing(out: Path) -> None:
    """The live picture of the first page, from the cube that ships with the project."""
    from xmodal_widgets import explore

    explore("dml").to_html(out / "views" / "landing.html")


def requests(site: Path) -> list[str]:
    """Scripts, styles, pictures and frames that a page would fetch from another server."""
    found = []
    for path in sorted(site.glob("*.html")):
        text = re.sub(r"<pre>.*?</pre>", "", path.read_text(encoding="utf-8"), flags=re.S)
        fetched = re.findall(
            r"<(?:script|img|iframe)[^>]* src=\"(https?:[^\"]*)|<link[^>]* href=\"(https?:[^\"]*)", text
        )
        found += [f"{path.name} asks {''.join(address)}" for address in fetched]
    return found


def heavy(site: Path) -> Iterator[str]:
    """Pages that take too long to come, those of live views among them."""
    for path in sorted(site.rglob("*.html")):
        if (size := path.stat().st_size) > MOST:
            yield f"{path.relative_to(site)} has {size / 1e6:.1f} MB, more than {MOST / 1e6:.0f}"


def reference(out: Path) -> list[str]:
    """The API reference, from the docstrings: a room's page has what the room passes on, and no helper has a page.

    Returns what pdoc warned of: annotations that it could not read, references that lead nowhere.
    """
    import pdoc

    specs = ["xmodal_lab", "xmodal_widgets", r"!.*\._", *(f"!xmodal_lab\\.{inside}" for inside in INSIDE)]
    names = pdoc.extract.walk_specs(specs)
    for name in names:
        importlib.import_module(name)
    for module in [m for word, m in sorted(sys.modules.items()) if word.split(".")[0] in specs]:
        vars(module).update(types_of(module))
    for name in names:
        module = sys.modules[name]
        rooms = [n.rpartition(".")[2] for n in names if n.rpartition(".")[0] == name]
        module.__all__ = [*passed_on(module), *rooms]
        for made in filter(inspect.isfunction, [vars(module).get(n) for n in module.__all__]):
            for word, meant in made.__globals__.items():  # pdoc reads a function's annotations by its module, a face
                vars(module).setdefault(word, meant)
        for made in (vars(module)[n] for n in module.__all__ if inspect.isclass(vars(module).get(n))):
            if hasattr(made, "_fields"):  # a NamedTuple's constructor stands in no file: its names have to be looked up
                made.__new__.__annotations__ = typing.get_type_hints(made)
            start = vars(made).get("__init__")
            if start is not None and start.__doc__ is None and made.__base__ is not object:
                start.__doc__ = "Arguments as above."  # else pdoc takes the words of nn.Module's
    pdoc.render.configure(docformat="google")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        pdoc.pdoc(*specs, output_directory=out)
    (out / "index.html").write_text(_written(_rooms(names)), encoding="utf-8")
    return sorted({f"pdoc: {warning.message}" for warning in said})


def types_of(module: ModuleType) -> dict[str, object]:
    """What a module imports for type checkers only: a reference shows annotations, so it needs the names."""
    names: dict[str, object] = {"__package__": module.__package__, "__name__": module.__name__}
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            exec(compile(ast.Module(node.body, []), str(module.__file__), "exec"), names)
    return {name: value for name, value in names.items() if not name.startswith("__")}


def _rooms(names: list[str]) -> nbformat.NotebookNode:
    """The reference's first page: every room, by the floor on which it stands, with the first line of its docstring."""
    drawn = re.search(r"```text\n(.*?)```", (ROOT / "docs/architecture.md").read_text(encoding="utf-8"), re.S)
    floors = {
        name.rstrip("/"): int(line[:2]) for line in drawn[1].splitlines() for name in line[3:].split("   ")[0].split()
    }
    lines: dict[int, list[str]] = {}
    for name in names:
        parts = name.split(".")[1:]
        room = next((p for p in reversed(parts) if p in floors), "")
        said = (importlib.import_module(name).__doc__ or "").strip().splitlines() or [""]
        link = f"{name.replace('.', '/')}.html"
        lines.setdefault(floors.get(room, 99), []).append(f"| [`{name}`]({link}) | {said[0].replace('|', ' ')} |")
    head = "# Reference, by room\n\nFrom the ground up; each room stands on those above it in this list."
    text = f"{head}\n\n| room | |\n|---|---|\n"
    text += "\n".join(line for floor in sorted(lines) for line in lines[floor])
    links = re.sub(r"\]\((?!https?:)", "](../", _navigation())
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(part) for part in (links, text)])


def passed_on(module: ModuleType) -> list[str]:
    """Public names that a module defines, or imports under their own name (``from ._x import f as f``)."""
    found = []
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.ImportFrom):
            found += [alias.name for alias in node.names if alias.asname == alias.name]
        elif isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            found.append(node.name)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found += [target.id for target in targets if isinstance(target, ast.Name)]
    public = (name for name in found if not name.startswith("_") and not inspect.ismodule(getattr(module, name)))
    return list(dict.fromkeys(public))


def page(source: Path, target: Path) -> None:
    """A Markdown page in the same dress as the lessons; the first one opens with a live picture."""
    text = _linked(source.read_text(encoding="utf-8"))
    if target.name == "index.html":
        text = re.sub(r"^!\[α slides.*$", lambda _: FRAME.format("landing.html"), text, flags=re.M)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(part) for part in (_navigation(), text)])
    notebook.metadata["title"] = source.stem
    target.write_text(_written(notebook), encoding="utf-8")


def _linked(text: str) -> str:
    """Links between pages and lessons, as the site has them."""
    text = re.sub(r"\]\((?:\.\./)?(?:docs/)?([\w./-]+?)\.md\)", r"](\1.html)", text)
    return re.sub(r"\]\((?:\.\./)?(?:notebooks/)?([\w.-]+?)\.ipynb\)", r"](\1.html)", text)


def lesson(source: Path, target: Path, live: bool) -> str:
    """A lesson; run again with its views exported, or as committed. Says so if it raised, and is then as committed."""
    notebook, told = nbformat.read(source, as_version=4), ""
    if live:
        export = EXPORT.format(folder=str(target.parent.resolve()), name=target.stem, frame=FRAME)
        notebook.cells.insert(0, nbformat.v4.new_code_cell(export))
        try:
            NotebookClient(
                notebook, timeout=600, resources={"metadata": {"path": str(source.parent)}},
                extra_arguments=["--log-level=ERROR"],  # kernels warn that they talk over TCP, on this machine
                store_widget_state=False,  # else the page holds each view's whole cube once more, beside its frame
            ).execute()  # fmt: skip
            del notebook.cells[0]
        except (CellExecutionError, DeadKernelError, TimeoutError) as error:
            last = re.sub(r"\x1b\[[\d;]*m", "", str(error)).strip().splitlines()[-1]  # without a terminal's colours
            told = f"{source.name} raised {last}; it is shown as it was saved."
            notebook = nbformat.read(source, as_version=4)
    words = _words()
    for cell in notebook.cells:
        cell.source = _linked(cell.source)
        if cell.cell_type == "markdown":
            if "exercise" not in cell.metadata.get("tags", []):
                cell.source = glossed(cell.source, words)
            cell.source = re.sub(r"\$\$(.+?)\$\$", lambda found: drawn(found[1]), cell.source, flags=re.S)
            cell.source = re.sub(r"<details><summary>(.*?)</summary>", r"⟦fold \1⟧", cell.source)
            cell.source = cell.source.replace("</details>", "⟦unfold⟧")
    notebook.cells = [cell for cell in notebook.cells if "plumbing" not in cell.metadata.get("tags", [])]
    notebook.cells.insert(0, nbformat.v4.new_markdown_cell(_navigation()))
    notebook.metadata["title"] = source.stem
    target.write_text(_written(notebook), encoding="utf-8")
    print(source.stem, flush=True)
    return told


# What stands in Markdown as it is: code, formulas, links, tags, headings.
AS_IT_IS = r"(```.*?```|`[^`]*`|\$\$.*?\$\$|\$[^$]*\$|!?\[[^\]]*\]\([^)]*\)|<[^>]*>|^(?:#| {4}).*?$)"
# Words of the glossary that are said in another sense too.
PLAIN = (
    "head",
    "term",
    "split",
    "share α",
    "paired",
    "sees",
    "holds",
    "control",
    "transfer",
    "interval",
    "coupling",
    "sharp",
)


def _words() -> dict[str, tuple[str, str]]:
    """Words of the glossary in small letters: the place on its page, and what they mean."""
    place, found, path = "", {}, ROOT / "docs/glossary.md"
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        if line.startswith("## "):
            place = line[3:].replace(" ", "-")
        elif entry := re.match(r"- \*\*(.+?)\*\*(?: \(\w+\))?: (.*)", line):
            meant = re.sub(r"[*`\\]", "", entry[2]).replace('"', "”")
            found |= {word.strip().replace("\\", "").lower(): (place, meant) for word in entry[1].split(",")}
    return {word: meaning for word, meaning in found.items() if word not in PLAIN}


def glossed(text: str, words: dict[str, tuple[str, str]]) -> str:
    """Each word of the glossary where a lesson first says it: a link that says under the pointer what it means.

    ``words`` loses those that were found, so that the next cell does not say them again.
    """
    parts = re.split(AS_IT_IS, text, flags=re.S | re.M)
    for word in sorted(words, key=len, reverse=True):
        said = re.compile(rf"(?<![\w*-]){re.escape(word)}s?(?![\w*-])", re.I)
        for i in range(0, len(parts), 2):
            if found := said.search(parts[i]):
                place, meant = words.pop(word)
                link = f'[{found[0]}](glossary.html#{place} "{meant}")'
                parts[i : i + 1] = [parts[i][: found.start()], link, parts[i][found.end() :]]
                break
    return "".join(parts)


def drawn(formula: str) -> str:
    """A displayed formula as a picture within the page, so that no script has to be fetched for it."""
    from matplotlib import font_manager, mathtext

    words, picture = " ".join(formula.split()), io.BytesIO()
    mathtext.math_to_image(f"${words}$", picture, prop=font_manager.FontProperties(size=13), format="svg")
    data = base64.b64encode(picture.getvalue()).decode()
    return f'<img class="formula" alt="{html.escape(words)}" src="data:image/svg+xml;base64,{data}">'


def _written(notebook: nbformat.NotebookNode) -> str:
    """The page, without the scripts that nbconvert would have it fetch from elsewhere (require.js, MathJax)."""
    text: str = _exporter().from_notebook_node(notebook)[0]
    # nbconvert closes an HTML element at the first blank line, and so leaves hints and solutions outside their folds.
    text = re.sub(r"<p>⟦fold (.*?)⟧</p>", r"<details><summary>\1</summary>", text)
    text = text.replace("<p>⟦unfold⟧</p>", "</details>")
    text = re.sub(r'<script[^>]* src="https?://[^"]*"[^>]*>\s*</script>', "", text)
    text = re.sub(r'<link[^>]* href="https?://[^"]*"[^>]*>', "", text)
    text = text.replace("</head>", f"{_dark()}</head>", 1)
    return re.sub(r"(<body[^>]*>)", lambda body: body[1] + TELLS, text, count=1)


@cache
def _dark() -> str:
    """JupyterLab's dark theme for readers whose system is dark, on the screen only."""
    places = (Path(path) / "static/theme-dark.css" for path in _exporter().template_paths)
    colors = next(path for path in places if path.is_file()).read_text(encoding="utf-8")
    return f'<style media="screen and {DARK}">{colors}{FORMULA}</style>'


def _navigation() -> str:
    """One line of links at the head of every page, and lines of text that an eye can follow."""
    # A lesson by its number, a user's own notebook by its name.
    stems = [path.stem for path in _notebooks()[0]]
    lessons = [(re.sub(r"^(\d\d)_.*", r"\1", stem), quote(f"{stem}.html")) for stem in stems]
    there = [("xmodal_lab", "index.html"), *lessons]
    if (ROOT / "CLAIMS.md").is_file():
        there.append(("ledger", "CLAIMS.html"))
    there += [("glossary", "glossary.html"), ("architecture", "architecture.html"), ("API", "api/index.html")]
    links = " · ".join(f"[{name}]({link})" for name, link in there)
    style = "main { max-width: 75em; margin: auto } .jp-RenderedMarkdown pre { margin-bottom: 1em } "
    style += '.jp-RenderedMarkdown a[href^="glossary.html#"] { color: inherit; text-decoration: underline dotted } '
    style += ".jp-InputArea .highlight { overflow-x: auto } "  # a long line is not cut
    style += (
        "@media print { pre { white-space: pre-wrap !important; overflow-wrap: anywhere } }"  # paper does not scroll
    )
    return f"<style>{style}</style>\n\n{links}"


def dead_links(site: Path) -> list[str]:
    """Links and pictures of the site's pages that lead to no file of the site, or to no place in it.

    Of the reference only files are checked: pdoc also points to places of inherited members, which it does not show.
    """
    pages = {}
    for path in sorted(site.rglob("*.html")):
        pages[path.resolve()] = _Page(path.read_text(encoding="utf-8"))
    found = []
    for path, page_ in pages.items():
        for link in sorted(page_.links):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            there = target.exists() or (target / "index.html").exists()
            if there and parts.fragment and target in pages and (site / "api").resolve() not in path.parents:
                there = bool({parts.fragment, unquote(parts.fragment)} & pages[target].places)
            if not there:
                found.append(f"{path.relative_to(site.resolve())}: {link}")
    return found


class _Page:
    """Where a page leads, and the places in it that a link can name.

    By a pattern, outside scripts and code: a parser that reads every picture of a page takes as long as a lesson.
    """

    def __init__(self, text: str) -> None:
        text = re.sub(r"<(script|style|pre)\b.*?</\1>", "", text, flags=re.S)
        found = [(name, html.unescape(value)) for name, value in re.findall(r'\s(href|src|id|name)="([^"]*)"', text)]
        self.links = {value for name, value in found if name in ("href", "src") and value}
        self.places = {value for name, value in found if name in ("id", "name") and value}


def _exporter() -> HTMLExporter:
    return HTMLExporter(template_name="lab", embed_images=True, exclude_input_prompt=True, exclude_output_prompt=True)


if __name__ == "__main__":
    sys.exit(main())
