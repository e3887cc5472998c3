"""``explore``: a live view of one's own cube, or of a paper by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .explorers import open_explorer
from .sweep_view import SweepView
from .view.watching import opened

if TYPE_CHECKING:
    import xarray as xr

    from .view.kinds import View


def explore(
    name_or_cube: str | Path | xr.Dataset | xr.DataArray,
    views: View | Sequence[View] | None = None,
    controls: Sequence[str] | None = None,
    **options: Any,
) -> SweepView:
    """A live view of one's own cube, or of a paper by name: ``explore(cube)``, ``explore("dml")``.

    Args:
        name_or_cube: a cube, the name of an explorer, or the place of one of your own, "package.module:EXPLORER". The
            folder of a store opens it as it is, and follows it while another process fills it
            (:meth:`SweepView.watch`).
        views: as for :class:`SweepView`.
        controls: as for :class:`SweepView`.
        options: ``title``, ``average``, ``compute``, and a value for any control.

    Returns:
        The view, live in a notebook.

    Raises:
        ValueError: an unknown name, or one whose cube is not shipped yet.

    Example:
        >>> import xarray as xr
        >>> from xmodal_widgets import explore
        >>> cube = xr.DataArray([[1.0, 0.5, 0.2], [0.8, 0.3, 0.1]], {"alpha": [0, 1], "epoch": [1, 2, 3]}, name="loss")
        >>> view = explore(cube, alpha=1)
        >>> view.state["alpha"]
        1
    """
    if isinstance(name_or_cube, Path) or (
        isinstance(name_or_cube, str) and (Path(name_or_cube) / "zarr.json").is_file()
    ):
        view = SweepView(opened(name_or_cube), views, controls, **options)
        view.watch(name_or_cube)
        return view
    if isinstance(name_or_cube, str):
        return open_explorer(name_or_cube, views=views, controls=controls, **options)
    return SweepView(name_or_cube, views, controls, **options)
