"""``SweepView``: a whole sweep behind every slider.

The cube travels to the browser once, as float32. From then on the browser slices, averages,
interpolates and draws; moving a slider never asks the kernel, so it works while the kernel is
busy and after it has died. What a control does, an argument does.
"""

from __future__ import annotations

import base64
import itertools
import json
import threading
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import traitlets

from .page import assets, later, picture
from .view import student
from .view.chosen import checked_views
from .view.drafts import Draft
from .view.errors import ErrorBox
from .view.grid import Grid, one_of
from .view.hosting import ViewHost
from .view.joining import joined, parted, with_settings
from .view.kinds import HeatMap, View
from .view.opened import averages, dims_of, fixed_settings, offered_settings, parts_of, store_of, trainable, with_stored
from .view.own import Own
from .view.state import LOOK, TIMES, checked_offers, checked_state, control_specs, dims_to_control, opening_state
from .view.train import Compute, Trainer
from .view.watching import Watcher, opened, stamp

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

# Constant, so that a notebook's stored text output is the same each time it runs.
PLAIN_TEXT = "SweepView (live in Jupyter; elsewhere the picture stands for it)"


class SweepView(ErrorBox, anywidget.AnyWidget):  # type: ignore[misc]
    """A live view of a labelled cube.

    Args:
        cube: an ``xarray.Dataset`` or ``DataArray``; names and units of axes come from the
            attributes ``long_name`` and ``units``. At most 64 MB as float32.
        views: what to draw (:class:`Surface`, :class:`Contour`, :class:`HeatMap`, :class:`Lines`,
            :class:`Density`, :class:`Bars`, :class:`Scatter`, :class:`Intervals`, :class:`Own`); chosen from the
            cube's dimensions when left out.
        controls: names of the controls to show, in this order; the others keep their value. A dict puts them under
            headings: ``{"data": ["modalities"], "training": ["lr", "seed"], "look": ["span"]}``; under "look" stand
            those along which every result brings all values, as along "epoch", "checkpoint" and "moment" anywhere.
        title: a heading.
        average: dimensions whose control offers "mean" and opens on it.
        compute: ``compute(setting, progress, cancelled) -> {variable: array}``; gives the view a
            "Train here" button and a "Follow" switch. ``setting`` holds the exact value of each control, each array
            has the variable's other dimensions (and ``"why": {variable: sentence}`` says why one is NaN),
            ``progress(0.3)`` or ``progress(0.3, "epoch 3")`` reports,
            ``progress.tell({variable: array})`` shows what is known so far, ``cancelled()`` says whether to stop.
            Runs in a background thread; the result joins the cube. An attribute ``prepare(setting)`` of it is called
            once, in another thread, when the reader begins to follow. Where the cube tells its sweep's fixed settings
            (``attrs["settings"]``), ``setting`` holds them too.
        experiment: the :class:`xmodal_lab.sweeps.Experiment` (or its name) that the cube was swept with, in place
            of ``compute``: it trains with the defaults and the fixed settings that the cube tells.
        store: a folder that keeps what "Train here" computes, and whose results of earlier sessions join the cube;
            that of :func:`xmodal_lab.sweep` when the cube was opened from one (``xarray.open_zarr``).
        offers: dimension -> values that its control offers although the cube lacks them; they are computed when they
            are chosen under "Follow", or by the button. Of a sweep's cube it may also be a setting that was fixed.
        state: a value for any control or switch: ``modalities="both", share=0.25, seed="mean", free=True``.

    Attributes:
        state: a plain dict of where every control stands; assign one (or a part) to move there.
            ``SweepView(cube, views, **view.state)`` restores a view.
        error: what the error box shows; empty when there is none.
        cube: the Dataset, with everything that was trained here.

    Raises:
        TypeError: the cube is not a Dataset of real numbers, a view is none.
        ValueError: an unknown variable, dimension, control or value, an empty or too large cube.

    Example:
        >>> import xarray as xr
        >>> from xmodal_widgets import Lines, SweepView
        >>> cube = xr.DataArray([[1.0, 0.5, 0.2], [0.8, 0.3, 0.1]], {"alpha": [0, 1], "epoch": [1, 2, 3]}, name="loss")
        >>> view = SweepView(cube, Lines("loss", x="epoch"), alpha=0)
        >>> view.state = {"alpha": 1}  # as if the slider had moved
        >>> view.state["alpha"]
        1
    """

    _esm = assets.module()
    _css = assets.style()

    _layout = traitlets.Dict().tag(sync=True)
    _payload = traitlets.Bytes(b"").tag(sync=True)
    _version = traitlets.Int(0).tag(sync=True)
    _views = traitlets.List().tag(sync=True)
    _controls = traitlets.List().tag(sync=True)
    _job = traitlets.Dict().tag(sync=True)
    title = traitlets.Unicode("").tag(sync=True)
    state = traitlets.Dict().tag(sync=True)

    def __init__(
        self,
        cube: xr.Dataset | xr.DataArray,
        views: View | Sequence[View] | None = None,
        controls: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
        title: str | None = None,
        *,
        average: str | Sequence[str] = ("seed",),
        compute: Compute | None = None,
        experiment: Any = None,
        store: str | Path | None = None,
        offers: Mapping[str, Sequence[Any]] | None = None,
        **state: Any,
    ) -> None:
        if compute is not None and not callable(compute):
            raise TypeError(f"compute must be callable (setting, progress, cancelled), got {type(compute).__name__}.")
        if compute is not None and experiment is not None:
            raise ValueError("give either compute= or experiment=, not both.")
        if title is not None and not isinstance(title, str):
            raise TypeError(f"title must be text, got {type(title).__name__}.")
        dataset = _as_dataset(cube)
        grid = Grid.of(dataset)
        if offers is not None:
            dataset = with_settings(dataset, offered_settings(dataset, offers))
            grid = Grid.of(dataset)
        compute = trainable(dataset, compute, experiment)
        self._experiment = getattr(compute, "experiment", None)
        self._store = store_of(dataset, store, compute is not None)
        if self._store is not None:
            dataset = with_stored(dataset, self._store)
            grid = Grid.of(dataset)
        self._average = averages(average, grid)
        self._shown = checked_views(views, grid, self._average)
        dims = dims_to_control(grid, self._shown)
        known = checked_offers(grid, offers) if compute is not None else {}
        specs = control_specs(grid, dims, controls, self._average, known)
        self._looked_at = tuple(spec["dim"] for spec in specs if spec["group"] == LOOK or spec["dim"] in TIMES)
        self._may_train = compute is not None
        start = opening_state(grid, dims, self._shown, self._average, self._may_train)
        self._last = checked_state(grid, start, state, self._average, self._may_train)
        self._id = uuid.uuid4().hex  # by which places that show this view find its cube
        self._kept_here: tuple[str, ...] = ()
        self._drawn: tuple[str, picture.Kept] = ("", picture.Kept(None, b"", bytes))
        self._draft: Draft | None = None
        self._guarding = threading.RLock()  # JupyterLab's callbacks and training run on threads of their own
        self._grid = grid
        self.cube = dataset
        self._trainer = Trainer(ViewHost(self), compute)
        self._versions, self._drafts = itertools.count(1), itertools.count(1)
        self._watcher: Watcher | None = None
        super().__init__(
            _layout=self._full_layout(),
            _payload=grid.payload(),
            _views=[view.spec(grid) for view in self._shown],
            _controls=specs,
            _job={"possible": compute is not None},
            title=title or "",
            state=self._last,
        )
        self.on_msg(self._hear)

    # -- state -----------------------------------------------------------------------------------

    @traitlets.validate("state")
    def _check_state(self, proposal: Any) -> dict[str, Any]:
        with self._guarding:  # relative to the last good state: ipywidgets may set before it validates
            self._last = checked_state(self._grid, self._last, proposal["value"], self._average, self._may_train)
            return dict(self._last)

    def set(self, **state: Any) -> None:
        """Move controls: ``view.set(share=0.5, modalities="image")``.

        With ``follow=True``, here or before, what the cube lacks there is computed in the background.

        Raises:
            ValueError: an unknown control, or a value that is not on the grid.
        """
        self.state = state
        if self.state.get("follow"):
            self._trainer.follow(dict(self.state))

    # -- training --------------------------------------------------------------------------------

    def train(self, wait: bool = True) -> None:
        """Compute the exact setting that the controls show, as the button "Train here" does.

        Returns when it is done; at once without ``wait``.

        Raises:
            ValueError: the view was made without ``compute=``.
            RuntimeError: it is training already.
        """
        self._trainer.start(dict(self.state))
        if wait:
            self._trainer.join()

    def cancel(self) -> None:
        """Ask a running training to stop; what is finished stays."""
        self._trainer.cancel()

    # -- a store that fills ----------------------------------------------------------------------

    def watch(self, store: str | Path, every: float = 2.0) -> None:
        """Follow a store that another process or notebook fills: what is finished appears by itself.

        Args:
            store: the folder that the sweep was given as ``store=``.
            every: seconds between two looks.

        Raises:
            ValueError: there is no store, or it has other variables or dimensions than this view draws.
        """
        if isinstance(every, bool) or not isinstance(every, int | float) or not every > 0:
            raise ValueError(f"every must be seconds above 0, got {every!r}.")
        self.unwatch()
        path = Path(store)
        seen = stamp(path)
        self._take(opened(path))
        remedy = "while watching a store; it is looked at again. Open it anew if it has taken another dimension"
        self._watcher = Watcher(path, float(every), self._take, lambda error: self.show_error(error, remedy), seen)

    def unwatch(self) -> None:
        """Follow no store any more."""
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher = None

    def _take(self, cube: xr.Dataset) -> None:
        """Show another state of the cube: the same variables and dimensions, with more members or values."""
        with self._guarding:
            cube = cube if self._store is None else with_stored(cube, self._store)
            grid = Grid.of(cube)
            for view in self._shown:
                view.check(grid)
            if missing := {*self._grid.dims} ^ {*grid.dims}:
                raise ValueError(f"the store has other dimensions than this view: {', '.join(sorted(missing))}.")
            self.cube, self._grid, version = cube, grid, next(self._versions)
            self._layout = {**self._full_layout(), "version": version}
            self._payload = grid.payload()
            self._version = version

    def _hear(self, _: Any, message: Mapping[str, Any], __: Any) -> None:
        try:
            if message.get("kind") == "compute":
                self._trainer.start(message["state"], int(message.get("ask", 0)))
            elif message.get("kind") == "follow":
                self._trainer.follow(message["state"], int(message.get("ask", 0)))
            elif message.get("kind") == "cancel":
                self._trainer.cancel()
            elif message.get("kind") == "picture":
                self._send_picture(message)
            elif message.get("kind") == "whole":  # a page that missed a change asks for all of it
                self.send_state(["_layout", "_payload", "_version"])
        except Exception as error:
            self.show_error(error)

    def _send_picture(self, message: Mapping[str, Any]) -> None:
        """Draw a panel of Matplotlib's for the browser, at the state and in the size that it asks for."""
        with self._guarding:
            state = checked_state(self._grid, self._last, message["state"], self._average, self._may_train)
            drawn = picture.panel_png(
                self._grid, self._shown[message["index"]], state, message["size"], message["dark"]
            )
        self.send({"kind": "picture", "index": message["index"], "key": message["key"]}, [drawn])

    def _join(self, setting: Mapping[str, Any], result: Any) -> None:
        """Take one computed setting: into the cube, into the store, and to the browser, which gets what is new only."""
        with self._guarding:
            self._draft = None
            self.cube = joined(self.cube, setting, result)
            result, why = parted(self.cube, result)
            known, self._grid = self._grid, Grid.of(self.cube)
            at = {name: value for name, value in setting.items() if name in self._grid.dims}
            if self._store is not None:
                self._keep(self._store, at, result, why)
            version = next(self._versions)
            slabs = self._grid.slabs(list(result), at, {n: dims_of(v) for n, v in result.items()})
            self._kept_here = ("_layout", "_payload")
            try:
                self._layout = {**self._full_layout(), "version": version}
                self._payload = self._grid.payload()
            finally:
                self._kept_here = ()
            self._version = version
            message = {
                "kind": "joined",
                "layout": self._layout,
                "new": self._grid.since(known),
                "slabs": [{"name": name, "at": place, "size": values.size} for name, place, values in slabs],
            }
            self.send(message, [b"".join(values.astype("<f4").tobytes() for _, _, values in slabs)])

    def _keep(self, store: Path, setting: Mapping[str, Any], result: Mapping[str, Any], why: Mapping[str, str]) -> None:
        """Write a result into the store, where later views and sweeps find it."""
        from xmodal_lab.sweeps import trained

        by = None
        if self._experiment is not None:
            by = trained.source(self._experiment, {k: v for k, v in setting.items() if k in self._experiment.defaults})
        trained.write(store, setting, fixed_settings(self.cube), parts_of(self.cube, setting, result), by, why)

    def _show_draft(self, setting: Mapping[str, Any], found: Mapping[str, Any]) -> None:
        """Send what is known so far of a setting; the cube and what a new page gets stay as they are."""
        with self._guarding:
            found = {name: value for name, value in found.items() if name in self.cube.data_vars}
            if not found:
                return
            if self._draft is None or self._draft.setting != setting:
                self._draft = Draft(setting)
            self.send(*self._draft.message(self.cube, self._grid, self._layout, found, next(self._drafts)))

    def _drop_draft(self) -> None:
        """Tell the browser that a draft will not be finished."""
        with self._guarding:
            if self._draft is not None:
                self._draft = None
                self.send({"kind": "dropped", "number": next(self._drafts)})

    def send_state(self, key: Any = None) -> None:
        """Send traits to the browser, as ipywidgets does; but not those that a message tells in a shorter way.

        ``key`` is a trait's name or a set of names; None is all.
        """
        if not (isinstance(key, str) and key in self._kept_here):
            super().send_state(key)

    def _full_layout(self) -> dict[str, Any]:
        """The grid's layout and the Student t quantiles (95 %, two-sided) that its bands need."""
        bands = [len(self._grid.dims[band].values) for view in self._shown if (band := getattr(view, "band", None))]
        bands += [view.freedom(self._grid, self._average) + 1 for view in self._shown if isinstance(view, HeatMap)]
        quantiles = student.quantiles(max(bands, default=1) - 1)
        return {**self._grid.layout(), "quantiles": quantiles, "id": self._id, "version": self._version}

    # -- without a kernel ------------------------------------------------------------------------

    def figure(self, dark: bool = False) -> Figure:
        """The view as it stands, drawn by Matplotlib: for GitHub, PDF and print; ``dark`` for slides of that colour."""
        from .page.figure import draw

        return draw(self._grid, self._shown, self.state, self.title, self._layout["quantiles"], dark)

    def to_html(self, path: str | Path, theme: str | None = None, *, text: str = "", below: str = "") -> Path:
        """Write one self-contained HTML file to ``path``: live controls, no kernel, no network.

        Args:
            path: of the file; what stood there is replaced.
            theme: "light" or "dark", as the page that frames it; the reader's own when left out.
            text: of your own above the view, in Markdown: headings, lists, tables, links. HTML in it is shown as it is
                written, and pictures are not fetched.
            below: likewise, below the view.

        Returns:
            The path of the file.

        Raises:
            ValueError: the folder does not exist; another theme.
            TypeError: a text that is none.
        """
        from xmodal_lab.utils import checks as check  # at use: a view needs no torch
        from xmodal_lab.utils.files import beside

        from .page.html import page

        if theme is not None:
            one_of("theme", theme, ("light", "dark"))
        target = check.path("path", path)
        if not target.name or target.is_dir():
            raise ValueError(f"path must name a file to write, got {str(path)!r}.")
        if not target.parent.is_dir():
            raise ValueError(f"the folder {str(target.parent)!r} does not exist; create it first.")
        traits = {
            name: getattr(self, name) for name in ("_layout", "_version", "_views", "_controls", "title", "state")
        }
        traits["_views"] = [self._still(view, spec) for view, spec in zip(self._shown, self._views, strict=True)]
        traits["_layout"] = {**self._layout, "id": "page"}  # alone on its page: the same view writes the same bytes
        words = [check.instance(name, given, str) for name, given in (("text", text), ("below", below))]
        source = page(traits, self._payload, self._png(), theme, *words)
        with beside(target) as unfinished:
            unfinished.write_text(source, encoding="utf-8")
        return target

    def _still(self, view: View, spec: Mapping[str, Any]) -> dict[str, Any]:
        """A view's description for a page without a kernel: a panel that only Matplotlib draws stays as it stands."""
        if not isinstance(view, Own) or view.js is not None:
            return dict(spec)
        drawn = picture.panel_png(self._grid, view, self.state, {"width": 640, "height": 480, "ratio": 2}, False)
        return {**spec, "picture": base64.b64encode(drawn).decode("ascii")}

    def _png(self) -> bytes:
        """The static picture; drawn once for a state of a cube, since it takes longer than the live view."""
        return self._kept_picture().get()

    def _kept_picture(self) -> picture.Kept:
        key = json.dumps([self.state, self.title, self._version])
        if self._drawn[0] != key:
            parts = {name: getattr(self, name) for name in ("_views", "state", "title")}
            parts["_layout"] = {**self._layout, "id": "", "version": 0}
            named = all(not isinstance(view, Own) or view.matplotlib is None for view in self._shown)
            # A function has no name to keep its picture by.
            self._drawn = (
                key,
                picture.Kept(parts if named else None, self._payload, lambda: picture.png(self.figure())),
            )
        return self._drawn[1]

    def _live_bundle(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        bundle = super()._repr_mimebundle_(**kwargs)
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle or {}, {})
        return {**data, "text/plain": PLAIN_TEXT}, metadata

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        data, metadata = self._live_bundle(**kwargs)
        return {**data, "image/png": base64.b64encode(self._png()).decode("ascii")}, metadata

    def _ipython_display_(self, **kwargs: Any) -> None:
        """In a cell: the live view first, where its static picture has still to be drawn."""
        if not later.possible() or self._kept_picture().there():
            raise NotImplementedError  # so IPython shows it as any other object
        later.display(self._live_bundle(**kwargs), self._repr_mimebundle_)


def _as_dataset(cube: Any) -> Any:
    import xarray as xr

    return cube.to_dataset(name=cube.name or "value") if isinstance(cube, xr.DataArray) else cube
