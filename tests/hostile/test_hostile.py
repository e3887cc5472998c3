"""Names and files that mean harm: pages, pictures, ledgers and terminals show them, and do nothing that they say."""

from __future__ import annotations

import base64
import hashlib
import html.parser
import json
import os
import re
import socket
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
import xarray as xr
from xmodal_widgets import Bars, HeatMap, Lines, Scatter, SweepView

import xmodal_lab as xl
from xmodal_lab.app import main as cli
from xmodal_lab.claims import ledger
from xmodal_lab.claims import page as pages
from xmodal_lab.claims.claim import Claim, Conditions
from xmodal_lab.claims.verdicts import Measured
from xmodal_lab.data.datasets.reading import archives
from xmodal_lab.utils import cache as disk

HELPERS = Path(__file__).parents[1] / "helpers"
HARM = {
    "script": "<script>alert(1)</script>",
    "end of script": "</script><script>alert(1)</script>",
    "comment": "<!--<script>",
    "attribute": '"><img src=x onerror=alert(1)>',
    "single quote": "' onmouseover='alert(1)",
    "link": "javascript:alert(1)",
    "template": "{title} {0} %s ${alert(1)} {{traits}}",
    "line separator": "a\u2028b\u2029c",
    "terminal": "\x1b[2J\x1b]0;owned\x07",
    "right to left": "user\u202egnp.exe",
    "mathematics": r"$\frac{$",
    "dollars": "$x$ and $5",
    "backslash": "\\u003cscript\\u003e",
    "null": "a\x00b",
    "control": "a\rb\nc\td",
    "surrogate pair": "👩‍🔬 声 صوت",
    "underscore": "__proto__",
    "constructor": "constructor",
    "long": "long " * 400,
}
DRAWN = {k: HARM[k] for k in ("terminal", "mathematics", "dollars", "null", "surrogate pair", "underscore", "long")}


def cube(word: str) -> xr.Dataset:
    """A word wherever a cube may hold one."""
    names = [word, f"{word} 2", "plain"]
    values = np.random.default_rng(0).random((3, 4, 5))
    y = xr.DataArray(values, dims=("kind", "x", "seed"), attrs={"long_name": word, "units": word})
    code = xr.DataArray(np.arange(4) % 3, dims="x", attrs={"flag_meanings": names})
    found = xr.Dataset({"y": y, "code": code}, {"kind": names, "x": np.arange(4.0), "seed": np.arange(5)})
    found["x"].attrs["long_name"] = found["kind"].attrs["long_name"] = word
    found.attrs = {"experiment": word, word: word}
    return found


def view(word: str) -> SweepView:
    views = [
        Lines("y", x="x", hue="kind", band="seed"), Bars("y", x="kind", band="seed"), HeatMap("y", x="x", y="seed"),
        Lines("y", x="x", col="kind", title=word),
    ]  # fmt: skip
    return SweepView(cube(word), views, title=word)


class Elements(html.parser.HTMLParser):
    """What a browser would make of a page: its elements, with attributes and text."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[int, str] = {}

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attributes)))

    def handle_data(self, data: str) -> None:
        self.texts[len(self.found) - 1] = self.texts.get(len(self.found) - 1, "") + data


def read(page: str) -> Elements:
    elements = Elements()
    elements.feed(page)
    elements.close()
    return elements


# -- pages -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tags(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    page = view("a name").to_html(tmp_path_factory.mktemp("page") / "view.html")
    return [tag for tag, _ in read(page.read_text(encoding="utf-8")).found]


@pytest.mark.parametrize("word", HARM.values(), ids=HARM)
def test_a_page_holds_words_as_words(
    word: str, tags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = view(word)
    monkeypatch.setattr(SweepView, "_png", lambda _: b"picture")  # of any words: below
    elements = read(shown.to_html(tmp_path / "view.html").read_text(encoding="utf-8"))
    assert [tag for tag, _ in elements.found] == tags, "no word becomes an element"
    for _, attributes in elements.found:
        assert not any(name.startswith("on") or name == "href" for name in attributes)
        assert (attributes.get("src") or "data:").startswith("data:")
    place = next(i for i, (_, a) in enumerate(elements.found) if a.get("id") == "traits")
    traits = json.loads(elements.texts[place])
    assert traits["title"] == word and traits["_layout"]["dims"] == shown._layout["dims"], "and none is changed"


def test_the_policy_lets_one_script_run_and_nothing_be_fetched(tmp_path: Path) -> None:
    text = view("<script>alert(1)</script>").to_html(tmp_path / "view.html").read_text(encoding="utf-8")
    elements = read(text)
    head = [tag for tag, _ in elements.found]
    place = next(i for i, (_, a) in enumerate(elements.found) if a.get("http-equiv") == "Content-Security-Policy")
    assert head.index("title") > place and head.index("style") > place and head.index("script") > place
    policy = dict(part.strip().partition(" ")[::2] for part in elements.found[place][1]["content"].split(";"))
    assert policy["default-src"] == "'none'" and policy["base-uri"] == "'none'" and policy["form-action"] == "'none'"
    assert not {"connect-src", "frame-src", "font-src", "object-src", "worker-src"} & set(policy)
    assert policy["img-src"] == "data:" and "unsafe" not in elements.found[place][1]["content"]
    for tag, kind in (("script", "script-src"), ("style", "style-src")):
        body = re.search(rf'<{tag}(?: type="module")?>(.*?)</{tag}>', text, re.S).group(1)
        assert policy[kind] == f"'sha256-{base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()}'"
    assert not re.search(r"\sstyle=|\son\w+=", text.partition("<body>")[2].partition('id="traits"')[0])


@pytest.mark.parametrize("word", DRAWN.values(), ids=DRAWN)
def test_a_picture_is_drawn_of_any_words(word: str) -> None:
    data, _ = view(word)._repr_mimebundle_()
    assert base64.b64decode(data["image/png"])[:4] == b"\x89PNG"
    assert set(data) <= {"text/plain", "image/png", "application/vnd.jupyter.widget-view+json"}
    assert data["text/plain"] == "SweepView (live in Jupyter; elsewhere the picture stands for it)"
    points = SweepView(cube(word), Scatter("y", "code", color="code", points="x"))
    assert points._png()[:4] == b"\x89PNG"


def test_a_picture_says_what_the_page_says() -> None:
    texts = {t.get_text() for t in view("$x$ and $5").figure().findobj() if hasattr(t, "get_parse_math")}
    assert any(r"\$x\$ and \$5" in text for text in texts), "no mathematics in the name of a class"


@pytest.mark.filterwarnings("ignore:Glyph .* missing")
@pytest.mark.filterwarnings("ignore:constrained_layout not applied")
@pytest.mark.parametrize("word", DRAWN.values(), ids=DRAWN)
def test_plots_draw_any_words(word: str) -> None:
    import matplotlib.pyplot as plt
    import pandas as pd

    plane = xl.landscape.plane(xl.Loss(lambda p: (p["w"] ** 2).sum(), {"w": torch.tensor([3.0, 4.0])}), points=5)
    plane.attrs["long_name"] = plane["a"].attrs["long_name"] = plane["b"].attrs["long_name"] = word
    figures = [xl.plots.landscape(plane, "heatmap").figure]
    figures.append(xl.plots.accuracies(pd.DataFrame({"arm": [word, "plain"] * 3, "accuracy": np.arange(6) / 6})).figure)
    for figure in figures:
        figure.canvas.draw()
        plt.close(figure)


def test_mathematics_in_a_plot_stays_mathematics() -> None:
    from xmodal_lab.plots.styles import legible

    shown = {text: legible(text) for text in (r"$\lambda_1$", r"$\frac{$", "5 $")}
    assert list(shown.values()) == [r"$\lambda_1$", r"\$\frac{\$", r"5 \$"]


# -- the ledger and the terminal ---------------------------------------------------------------------


@pytest.mark.parametrize("word", HARM.values(), ids=HARM)
def test_the_ledgers_page_has_no_tags_and_one_line_a_row(word: str) -> None:
    word = f"{word} | `code` [here](javascript:alert(1)) <img src=x onerror=alert(1)>"
    claim = Claim("dml.A", word, word, word, lambda conditions: None)
    measured = Measured("holds", word, 1.0, (0.5, 1.5), 5, note=word)
    row = ledger.row_of(claim, Conditions(None, range(5), "quick", None, None), measured, 1.0, 1.0)
    page = pages.render([{**row, "dataset": word, "data": word}])
    assert not re.search(r"(?<!\\)<[a-zA-Z/!?]", page), "no HTML"
    assert not re.search(r"(?<!\\)\[[^\[\]]*\]\(", page), "no links"
    table = next(line for line in page.splitlines() if line.startswith("| dml.A"))
    columns = pages.grid([])[0].count("|")
    assert len(re.findall(r"(?<!\\)\|", table)) == columns == 9, "as many cells as columns"
    assert page.count("dml.A") == 3, "its row, its note, and what it cost"


def test_the_shipped_pages_say_the_same_with_and_without_the_guard() -> None:
    for name, row in ledger.shipped().items():
        for text in (row["claim"], row["measured"], row["note"], row["printed"]):
            assert pages._words(text) == " ".join(text.split()), f"{name} needs an escape"


def test_a_cached_file_does_not_speak_to_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XMODAL_CACHE", str(tmp_path))
    disk.write("features", "x", {"a": torch.ones(2)}, {"what": "".join(HARM.values())})
    assert cli.main(["cache", "ls"]) == 0
    printed = capsys.readouterr().out
    assert "\x1b" not in printed and "\x07" not in printed and "\u202e" not in printed and "<script>" in printed


@pytest.mark.parametrize("word", HARM.values(), ids=HARM)
def test_a_dataset_shows_its_name_without_obeying_it(word: str) -> None:
    view = word.replace(".", "_")  # a dot parts the names of parameters, so no modality may have one
    samples = xl.Samples({"image": torch.rand(4, 1, 2, 2), view: torch.rand(4, 3)}, torch.tensor([0, 1, 0, 1]))
    ds = xl.Dataset(word, samples, samples, classes=(word, "plain"))
    for shown in (repr(ds), str(ds)):
        head = shown.partition(":")[0]
        assert "\x1b" not in head and "\u202e" not in head and "\n" not in head
    run = xl.fit(
        xl.LateFusion.for_dataset(ds, modalities="image", architecture="mlp", width=2), ds, epochs=1, progress=False
    )
    assert 0 <= run.score <= 1


# -- archives ----------------------------------------------------------------------------------------


def test_a_zip_bomb_and_zip_paths_are_refused(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as pack:
        pack.writestr("zeros", bytes(3_000_000))
    assert bomb.stat().st_size < 5000
    with pytest.raises(ValueError, match="unpacks to more than 1000000 bytes"):
        archives.unpack(bomb, tmp_path / "x", most_bytes=1_000_000)
    raw = bytearray(bomb.read_bytes())
    for where in (i for i in range(len(raw) - 4) if raw[i : i + 4] == (3_000_000).to_bytes(4, "little")):
        raw[where : where + 4] = (10).to_bytes(4, "little")  # it lies about its size
    bomb.write_bytes(raw)
    with pytest.raises(ValueError, match=r"longer than announced|damaged"):
        archives.unpack(bomb, tmp_path / "x", most_bytes=1_000_000)
    for name in ("../out", "/abs", "a/../../out", "c:\\x", "..\\out", "a\\..\\..\\out"):
        with zipfile.ZipFile(tmp_path / "p.zip", "w") as pack:
            pack.writestr("good", "x")
            pack.writestr(name, "x")
        with pytest.raises(ValueError, match="leaves the folder"):
            archives.unpack(tmp_path / "p.zip", tmp_path / "in" / "x")
    assert not (tmp_path / "x").exists() and not (tmp_path / "out").exists() and not list((tmp_path / "in").iterdir())


def test_torch_files_are_refused_where_torch_would_run_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from xmodal_lab.data.datasets.on_disk.feature_files import read_features

    torch.save({"labels": torch.zeros(2)}, tmp_path / "x.pth")
    assert list(read_features(tmp_path / "x.pth")) == ["labels"]
    monkeypatch.setattr(torch, "__version__", "2.5.1+cpu")
    with pytest.raises(ValueError, match=r"PyTorch before 2.6 run code .*this is 2.5.1\+cpu; update PyTorch, or give"):
        read_features(tmp_path / "x.pth")


# -- the network -------------------------------------------------------------------------------------

QUIET = """
import os, socket, sys, tempfile, warnings
from pathlib import Path
asked = []
def audit(event, arguments):
    if event in ("socket.connect", "socket.sendto") and not str(arguments[1][0] if isinstance(arguments[1], tuple) else "127.").startswith(("127.", "::1")):
        asked.append((event, arguments[1]))
        raise OSError("no network here")
    if event in ("socket.getaddrinfo", "socket.gethostbyname", "urllib.Request"):
        asked.append((event, arguments[0]))
        raise OSError("no network here")
sys.addaudithook(audit)
os.environ.pop("HF_HUB_OFFLINE", None)
import xmodal_lab as xl
from xmodal_lab.app import main as cli
from xmodal_widgets import explore, explorers
warnings.simplefilter("ignore")
small = {"digits": {"images_per_class": 5, "clips_per_class": 10}, "shapes": {}, "gaussian": {}}
for name, options in small.items():
    ds = xl.load(name, **options)
    print(ds)
ds = xl.load("digits", **small["digits"])
run = xl.fit(xl.LateFusion.for_dataset(ds, architecture="mlp", width=4), ds, epochs=1, progress=False)
xl.landscape.plane(xl.loss_on(run.model, ds.test), points=3)
with tempfile.TemporaryDirectory() as folder:
    xl.sweep("dml", alpha=[0.0, 1.0], epochs=1, store=Path(folder) / "s.zarr", progress=False, **small["digits"])
    for name in explorers.ready():
        view = explore(name)
        view.to_html(Path(folder) / f"{name}.html")
        view.close()
xl.claims.table()
cli.main(["doctor"])
assert not asked, asked
print("asked nobody")
"""


@pytest.mark.slow
def test_nobody_is_asked_unless_the_user_asks(tmp_path: Path) -> None:
    environment = {**os.environ, "XMODAL_CACHE": str(tmp_path), "MPLBACKEND": "Agg"}
    environment.pop("XMODAL_DATA", None)
    done = subprocess.run(
        [sys.executable, "-c", QUIET], capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.endswith("asked nobody\n")


def test_lab_listens_on_this_machine_with_its_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """``xmodal lab`` leaves JupyterLab's own safe defaults alone: loopback, a fresh token."""
    server = MagicMock(**{"__enter__.return_value.wait.return_value": 0})
    monkeypatch.setattr("subprocess.Popen", lambda command, **_: server(command) and server)
    assert cli.main(["lab"]) == 0
    ((command,), _) = server.call_args
    settings = [part for part in command[2:] if part != "--ServerApp.jpserver_extensions=notebook_shim=False"]
    assert not re.search(r"--ip|--ServerApp|token|password|0\.0\.0\.0|allow.origin|disable_check", " ".join(settings))
    from jupyter_server.auth.identity import IdentityProvider
    from jupyter_server.serverapp import ServerApp

    app = ServerApp()
    assert app.ip == "localhost" and not app.allow_remote_access
    assert len(IdentityProvider(parent=app).token) >= 40
    assert all(address[4][0] in ("127.0.0.1", "::1") for address in socket.getaddrinfo(app.ip, None))


def test_stores_and_caches_hold_no_pickles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening what another has made runs nothing: pickle is never asked."""
    import pickle

    from toy_experiments import CHEAP

    from xmodal_lab.sweeps import sweep

    sweep(CHEAP, store=tmp_path / "s.zarr", progress=False, seed=[0, 1])
    disk.write("features", "x", {"a": torch.ones(2)}, {}, tmp_path)

    def asked(*_: Any, **__: Any) -> None:
        raise AssertionError("a pickle was read")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, asked)
    sweep(CHEAP, store=tmp_path / "s.zarr", progress=False, seed=[0, 1])
    assert xr.open_zarr(tmp_path / "s.zarr", chunks=None).load()["value"].shape == (2,)
    assert disk.read("features", "x", tmp_path) is not None
