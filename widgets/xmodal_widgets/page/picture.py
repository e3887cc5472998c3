"""Static pictures as PNG, kept on disk: the same view at the same state is drawn once, not in each session.

The live view never waits for a picture that is there already. A folder that cannot be written, or a damaged file, costs
only the drawing.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import tempfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..view.grid import Grid

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KEPT = 200  # pictures, of about 150 KB each; the oldest go first (ours)
_START, _END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"


def png(figure: Figure) -> bytes:
    """The figure as PNG. ``savefig`` would draw it twice."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # a name in a script that the font lacks
        warnings.filterwarnings("ignore", message="constrained_layout not applied")  # or too long for its place
        canvas.print_png(buffer)
    return buffer.getvalue()


def panel_png(grid: Grid, view: Any, state: Mapping[str, Any], size: Mapping[str, Any], dark: bool) -> bytes:
    """A panel of one's own alone, by its Matplotlib function: ``size`` in CSS pixels, with the device's ``ratio``."""
    from matplotlib.figure import Figure

    from .figure import draw_own, dress

    width, height = (min(4000.0, max(50.0, float(size[name]))) for name in ("width", "height"))
    ratio = min(3.0, max(1.0, float(size["ratio"])))
    figure = Figure(figsize=(width / 96, height / 96), dpi=96 * ratio, layout="constrained")
    draw_own(figure.subplots(), grid, view, state)
    dress(figure, dark)
    return png(figure)


class Kept:
    """The picture that ``parts`` and the cube's ``payload`` describe; without ``parts`` this session alone keeps it.

    Args:
        parts: all that it shows besides the payload.
        payload: the cube's numbers.
        draw: makes it.
    """

    def __init__(self, parts: Mapping[str, Any] | None, payload: bytes, draw: Callable[[], bytes]) -> None:
        self._place = None if parts is None else _place(parts, payload)
        self._draw = draw
        self._picture = b""

    def there(self) -> bool:
        """Whether :meth:`get` need not draw it."""
        if not self._picture and self._place is not None:
            with contextlib.suppress(OSError):
                found = self._place.read_bytes()
                if found.startswith(_START) and found.endswith(_END):
                    self._picture = found
        return bool(self._picture)

    def get(self) -> bytes:
        """The picture: from disk, else drawn, and kept then."""
        if not self.there():
            self._picture = self._draw()
            with contextlib.suppress(OSError):
                if self._place is not None:
                    _write(self._place, self._picture)
        return self._picture


def _place(parts: Mapping[str, Any], payload: bytes) -> Path | None:
    """The file of a picture; its name also tells how pictures are drawn, so that none outlives a change of that."""
    folder = _folder()
    if folder is None:
        return None
    digest = hashlib.sha256(payload)
    digest.update(json.dumps(parts, sort_keys=True, default=str).encode())
    digest.update(_drawing())
    return folder / f"{digest.hexdigest()[:24]}.png"


def _drawing() -> bytes:
    """What draws: the files of this folder and Matplotlib's version."""
    from importlib.metadata import version

    sources = b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
    return sources + version("matplotlib").encode()


def _folder() -> Path | None:
    """As ``xmodal_lab.utils.cache.folder``, which would bring torch along; a test holds the two together."""
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA") or "~/.cache"
    try:
        named = os.environ.get("XMODAL_CACHE")
        return (Path(named).expanduser() if named else Path(base).expanduser() / "xmodal_lab") / "pictures"
    except RuntimeError:  # no home folder
        return None


def _write(place: Path, picture: bytes) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=place.parent, suffix=".part")
    with os.fdopen(descriptor, "wb") as file:
        file.write(picture)
    Path(name).replace(place)
    pictures = sorted(place.parent.glob("*.png"), key=lambda path: path.stat().st_mtime, reverse=True)
    for old in pictures[KEPT:]:
        old.unlink(missing_ok=True)
