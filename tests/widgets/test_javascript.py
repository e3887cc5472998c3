"""The JavaScript's own tests, by Node's runner: no browser, nothing to install."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from xmodal_widgets.page import assets

HERE = Path(__file__).parent / "js"
NODE = shutil.which("node")


@pytest.mark.skipif(NODE is None, reason="no node on the search path; the same code runs in the browser tier")
@pytest.mark.parametrize("path", sorted(HERE.glob("*.test.mjs")), ids=lambda path: path.name)
def test_by_node(path: Path) -> None:
    done = subprocess.run([NODE, "--test", str(path)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(NODE is None, reason="no node on the search path; the same code runs in the browser tier")
def test_the_bundle_is_a_module(tmp_path: Path) -> None:
    """Node parses and runs it, and it exports what anywidget asks for."""
    (tmp_path / "bundle.mjs").write_text(assets.module(), encoding="utf-8")
    code = "import view from './bundle.mjs'; console.log(typeof view.render)"
    done = subprocess.run(
        [NODE, "--input-type=module", "-e", code], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "function"), done.stderr
