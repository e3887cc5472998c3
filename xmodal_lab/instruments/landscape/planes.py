"""Loss landscapes: the loss along lines and planes through a point of parameter space.

    value at (a, b) = loss(θ + a·d₁ + b·d₂),   centre = loss(θ)

Random directions are Gaussian and, by default, filter-normalised (Li et al. 2018): each
filter of d has the norm of the same filter of θ. Every result is an ``xarray.DataArray``
whose attributes say how it was made: loss, normalization, seed, span, engine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ...losses import Direction, Loss, Params, as_loss
from ...losses.directions import norm_of, parameter_names
from ...losses.precision import looked_at, value_in
from ...utils import checks as check
from ...utils.factors import eigh
from ...utils.torch_state import full_precision, wide
from . import grids
from .axes import draw

if TYPE_CHECKING:
    import xarray as xr

ENGINES = ("xmodal", "loss-landscapes")
# Scalars that a trajectory's axes are worked out from at a time: of each checkpoint, and of all together (ours).
STRETCH, TOGETHER = 1 << 16, 1 << 20


# -- lines and planes --------------------------------------------------------------------------------


@full_precision()
def line(
    loss: Loss,
    points: int = 51,
    span: float = 1.0,
    *,
    to: Direction | None = None,
    direction: Direction | None = None,
    normalization: str | None = "filter",
    seed: int = 0,
    params: str | Sequence[str] | None = None,
    dtype: torch.dtype | None = None,
) -> xr.DataArray:
    """The loss along a line through θ.

    Args:
        loss: what to look at.
        points: on the line; odd, so that θ is one of them.
        span: the line runs from -span to +span times the direction.
        to: another point of parameter space, as a dict or a whole ``state_dict()``: the line then runs from
            θ (0) to it (1), ends included. Its buffers (BatchNorm's statistics) move along, as parameters do.
        direction: used as given; drawn like :func:`directions` when neither it nor ``to`` is given.
        normalization, seed, params: of a drawn direction.
        dtype: in which it is computed; the loss's own when not given, at least float32.

    Returns:
        DataArray, dim "a" (points).

    Raises:
        ValueError: points < 3, span ≤ 0, a direction of the wrong shape, a stochastic loss, a ``dtype`` in which
            the loss cannot be evaluated.

    Example:
        >>> import torch
        >>> import xmodal_lab as xl
        >>> bowl = xl.Loss(lambda p: (p["w"] ** 2).sum(), {"w": torch.tensor([3.0, 4.0])})
        >>> xl.landscape.line(bowl, points=3, direction={"w": torch.tensor([3.0, 4.0])}).values
        array([  0.,  25., 100.])
    """
    points, span = _check_grid(loss, points, span)
    given, loss = loss, looked_at(loss, dtype)
    if to is not None and direction is not None:
        raise ValueError("give either to= (another point) or direction=, not both.")
    how, beside = "given", Params()
    if to is not None:
        target, beside = loss.split_state(to, "to")
        chosen = {name: target[name] - loss.params[name] for name in target}
        a = np.linspace(0.0, 1.0, points)
        how = "to a point"
    else:
        a = np.linspace(-span, span, points)
        if direction is not None:
            chosen = loss.check_direction(direction)
        else:
            how = str(normalization)
            chosen = draw(loss, 1, normalization=normalization, seed=seed, params=params)[0]
    centre = value_in(loss, given)
    if beside:
        values = grids.between(loss, chosen, beside, a)
    else:
        values = grids.evaluate(loss, [chosen], a[:, None])
    attrs = _attributes(loss, centre, span=span, normalization=how, seed=seed)
    import xarray as xr

    return xr.DataArray(values, {"a": ("a", a, {"long_name": "a"})}, ("a",), "loss", attrs)


@full_precision()
def plane(
    loss: Loss,
    points: int = 41,
    span: float = 1.0,
    normalization: str | None = "filter",
    seed: int = 0,
    directions: Sequence[Direction] | None = None,
    engine: str | None = None,
    *,
    params: str | Sequence[str] | None = None,
    vectors: str = "normalize",
    tolerance: float | None = None,
    dtype: torch.dtype | None = None,
) -> xr.DataArray:
    """The loss on a plane through θ: value at (a, b) = loss(θ + a·d1 + b·d2).

    Args:
        loss: what to look at.
        points: along each axis; odd, so that the centre is θ.
        span: each axis runs from -span to +span.
        normalization: "filter" | "layer" | None, of drawn directions.
        seed: of drawn directions.
        directions: a pair of parameter dicts, used as given (a missing name means zero).
        engine: None, or "loss-landscapes" for what that library draws (version 3.0.6 shears
            its grid and leaves θ off it). For comparison only.
        params: move only this block (or these names).
        vectors: "normalize" | "zero", what happens to biases; see :func:`directions`.
        tolerance: None computes every point. A number t computes as few as are expected to keep the error of the others
            within t times the range of values: each next point where a surface through the known ones is most
            likely off (:mod:`.adaptive`; at 1e-2 a fourteenth of 41 x 41 points where the surface is smooth, half of
            them where it is not; at most 11 x 11 points are all computed: there it saves nothing). Where four fifths of
            them do not do, every point is computed. The attributes ``computed`` (share), ``points_computed`` and
            ``error_estimate`` (in the units of the loss; 0 where all were computed) say what came of it. It is an
            estimate from points, no bound: ``docs/speed.md`` says on how many planes of nets it held.
        dtype: in which it is computed; the loss's own when not given, at least float32.

    Returns:
        DataArray, dims ("a", "b"). Non-finite values are kept.

    Raises:
        ValueError: points < 3, span ≤ 0, unknown normalization or engine, a direction of the
            wrong shape, a stochastic loss.

    Example:
        >>> import torch
        >>> import xmodal_lab as xl
        >>> bowl = xl.Loss(lambda p: (p["w"] ** 2).sum(), {"w": torch.tensor([3.0, 4.0])})
        >>> plane = xl.landscape.plane(bowl, points=5, span=0.5)
        >>> plane.dims, plane.shape, float(plane.sel(a=0, b=0))
        (('a', 'b'), (5, 5), 25.0)
    """
    points, span = _check_grid(loss, points, span)
    given, loss = loss, looked_at(loss, dtype)
    if engine is not None and check.one_of("engine", engine, ENGINES) == "loss-landscapes":
        values = grids.peer_plane(loss, points, span, normalization, seed)
        a = np.linspace(-span, span, points)
        attrs = _attributes(loss, value_in(loss, given), span=span, normalization=str(normalization), seed=seed)
        return _plane_array(values, a, a, attrs | {"engine": engine})
    pair, how = _pair(loss, directions, normalization, seed, params, vectors)
    a = np.linspace(-span, span, points)
    if tolerance is not None:
        tolerance = check.positive("tolerance", tolerance)
    attrs = _attributes(loss, value_in(loss, given), span=span, normalization=how, seed=seed)
    values, more = grids.plane_values(loss, pair, a, a, tolerance)
    return _plane_array(values, a, a, attrs | more)


@full_precision()
def modality_plane(
    loss: Loss,
    first: str,
    second: str,
    points: int = 41,
    span: float = 1.0,
    normalization: str | None = "filter",
    seed: int = 0,
    directions: Sequence[Direction] | None = None,
    *,
    dtype: torch.dtype | None = None,
) -> xr.DataArray:
    """A plane with d1 in one modality's encoder and d2 in another's.

    Where each block is a part of the module that runs once on the data, as the encoders of a
    :class:`~xmodal_lab.LateFusion` do, it is evaluated G times, not G² times: its features at
    every step are kept, and only the rest of the module runs on the grid.

    Args:
        loss: what to look at.
        first, second: two modalities, or two blocks of ``loss.blocks``.
        points, span, normalization, seed, directions, dtype: as in :func:`plane`.

    Returns:
        DataArray, dims ("a", "b"): a moves ``first``, b moves ``second``.

    Raises:
        ValueError: an unknown modality or block, twice the same one, and as :func:`plane`.
    """
    points, span = _check_grid(loss, points, span)
    given, loss = loss, looked_at(loss, dtype)
    seed = check.integer("seed", seed, at_least=0)
    names = [parameter_names(loss, first), parameter_names(loss, second)]
    if set(names[0]) & set(names[1]):
        raise ValueError(f"{first!r} and {second!r} share parameters; choose two different modalities.")
    how = str(normalization)
    if directions is None:
        pair = [
            draw(loss, 1, normalization=normalization, seed=2 * seed + i, params=block)[0]
            for i, block in enumerate(names)
        ]
    else:
        pair, how = _given(loss, directions), "given"
        for d, block, m in zip(pair, names, (first, second), strict=True):
            for name in d:
                check.one_of(f"parameter of {m!r}", name, block)
    a = np.linspace(-span, span, points)
    centre = value_in(loss, given)
    values = grids.separable_plane(loss, pair, a)
    if values is None:
        values = grids.evaluate(loss, pair, grids.pairs_of(a, a)).reshape(points, points)
    attrs = _attributes(loss, centre, span=span, normalization=how, seed=seed)
    result = _plane_array(values, a, a, attrs | {"first": first, "second": second})
    result["a"].attrs["long_name"] = first
    result["b"].attrs["long_name"] = second
    return result


@full_precision()
def trajectory_plane(
    loss: Loss,
    runs: Mapping[str, Sequence[Direction]] | Sequence[Direction],
    points: int = 41,
    margin: float = 0.25,
    *,
    tolerance: float | None = None,
    dtype: torch.dtype | None = None,
) -> xr.Dataset:
    """The plane that training took: the first two principal components of its checkpoints.

    Several runs share one plane, spanned by the PCA of all their checkpoints together, each
    taken relative to θ. Training begins left of θ and below it (the mean of several runs).

    Args:
        loss: the loss whose θ is the origin (usually the end of a run).
        runs: name -> checkpoints (dicts of parameters, such as ``run.snapshots.values()``), or
            one run's checkpoints.
        points: along each axis.
        margin: room around the paths, as a share of their extent (0.25; ours).
        tolerance, dtype: as in :func:`plane`.

    Returns:
        Dataset: ``loss`` (a, b); ``path`` (run, step, axis), NaN where a run is shorter;
        ``explained``: share of the checkpoints' variance that the plane holds.

    Raises:
        ValueError: fewer than two checkpoints, or checkpoints that span no plane.
    """
    given, loss = loss, looked_at(loss, dtype)
    points, margin = check.integer("points", points, at_least=3), check.non_negative("margin", margin)
    named = dict(runs) if isinstance(runs, Mapping) else {"run": runs}
    named = {k: check.listed(f"the checkpoints of {k!r}", v) for k, v in named.items()}
    if sum(map(len, named.values())) < 2 or not all(named.values()):
        raise ValueError("a trajectory needs at least two checkpoints, and one of each run.")
    named = {k: [loss.check_direction(c, f"{k}[{i}]") for i, c in enumerate(v)] for k, v in named.items()}
    checkpoints = [c for run in named.values() for c in run]
    # PCA through the small Gram matrix: checkpoints are few, parameters many, and none is copied whole.
    gram = torch.zeros(len(checkpoints), len(checkpoints), dtype=torch.float64)
    for _, _, piece in _offsets(loss.params, checkpoints):
        gram += (piece @ piece.T).cpu()
    strength, basis = eigh(gram)
    strength = strength.clamp_min(0).flip(0)
    if float(strength[1]) <= 1e-12 * float(strength[0]) or float(strength[0]) == 0:
        raise ValueError("the checkpoints lie on a line through θ and span no plane; use landscape.line(to=…).")
    mix = basis.flip(1)[:, :2] / strength[:2].sqrt()
    pair: list[Params] = [{n: p.new_empty(p.shape) for n, p in loss.params.items()} for _ in range(2)]
    for name, part, piece in _offsets(loss.params, checkpoints):
        for axis, values in zip(pair, mix.T.to(piece) @ piece, strict=True):
            axis[name].view(-1)[part] = values.to(axis[name])
    ends = np.cumsum([len(run) for run in named.values()])[:-1]
    at = (gram @ mix).numpy()
    turn = _from_below(at, [0, *ends], pair)
    for axis, sign in zip(pair, turn, strict=True):
        for values in axis.values():
            values *= sign
    at = at * turn
    paths = dict(zip(named, np.split(at, ends), strict=True))
    corners = np.concatenate([*paths.values(), np.zeros((1, 2))])
    low, high = corners.min(0), corners.max(0)
    room = margin * (high - low)
    a, b = (np.linspace(low[i] - room[i], high[i] + room[i], points) for i in range(2))
    centre = value_in(loss, given)
    values, more = grids.plane_values(loss, pair, a, b, tolerance)
    longest = max(len(p) for p in paths.values())
    path = np.full((len(paths), longest, 2), np.nan)
    for i, p in enumerate(paths.values()):
        path[i, : len(p)] = p
    attrs = _attributes(loss, centre, span=float(np.abs(corners).max()), normalization="PCA of checkpoints", seed=-1)
    surface = _plane_array(values, a, b, attrs | more)
    return surface.to_dataset(name="loss").assign(
        path=(("run", "step", "axis"), path, {"long_name": "checkpoints in the plane"}),
        explained=float(strength[:2].sum() / strength.sum()),
    ).assign_coords(run=list(paths), axis=["a", "b"])  # fmt: skip


# -- small parts -------------------------------------------------------------------------------------


def _pair(
    loss: Loss,
    given: Sequence[Direction] | None,
    normalization: str | None,
    seed: int,
    params: str | Sequence[str] | None,
    vectors: str,
) -> tuple[list[Params], str]:
    if given is not None:
        return _given(loss, given), "given"
    drawn = draw(loss, 2, normalization=normalization, seed=seed, params=params, vectors=vectors)
    return drawn, str(normalization)


def _given(loss: Loss, pair: Sequence[Direction]) -> list[Params]:
    count = 1 if isinstance(pair, Mapping) else len(check.listed("directions", pair))
    if count != 2:
        raise ValueError(f"directions must be a pair of parameter dicts, got {count}.")
    return [loss.check_direction(d, f"directions[{i}]") for i, d in enumerate(pair)]


def _check_grid(loss: object, points: int, span: float) -> tuple[int, float]:
    """Points and span as plain numbers."""
    as_loss(loss)
    return check.integer("points", points, at_least=3), _span(check.positive("span", span))


def _span(span: float) -> float:
    if span > 1e30:
        raise ValueError(f"span must be at most 1e30, got {span:g}: steps of that size overflow.")
    return span


def _plane_array(values: np.ndarray, a: np.ndarray, b: np.ndarray, attrs: dict[str, Any]) -> xr.DataArray:
    import xarray as xr

    coords = {"a": ("a", a, {"long_name": "a"}), "b": ("b", b, {"long_name": "b"})}
    return xr.DataArray(values, coords, ("a", "b"), "loss", attrs)


def _attributes(loss: Loss, centre: float, *, span: float, normalization: str, seed: int) -> dict[str, Any]:
    return {
        "source": "xmodal_lab landscape",  # begins with what is to be cited
        "long_name": loss.name,
        "centre": centre,
        "span": span,
        "normalization": normalization,
        "seed": seed,
        "engine": "xmodal",
        "parameters": loss.size,
        "norm": float(norm_of(loss.params)),
        "dtype": str(loss.dtype).removeprefix("torch."),
    }


def _offsets(params: Params, checkpoints: Sequence[Direction]) -> Iterator[tuple[str, slice, Tensor]]:
    """Checkpoints relative to θ in float64, (checkpoints, m), for one stretch of a parameter after the other."""
    stretch = max(1, min(STRETCH, TOGETHER // len(checkpoints)))
    for name, p in params.items():
        theta = p.reshape(-1)
        for start in range(0, len(theta), stretch):
            part = slice(start, start + stretch)
            here = wide(theta[part])
            piece = here.new_zeros(len(checkpoints), len(here))
            for row, checkpoint in zip(piece, checkpoints, strict=True):
                if name in checkpoint:
                    torch.sub(wide(checkpoint[name].detach().reshape(-1)[part]), here, out=row)
            yield name, part, piece


def _from_below(at: np.ndarray, firsts: Sequence[int], pair: Sequence[Params]) -> np.ndarray:
    """The ±1 of each axis by which training begins below θ.

    The sign of a parameter would be a toss where two of them are nearly the largest: the same training, summed in
    another order, would stand mirrored.
    """
    begin, reach = at[list(firsts)].sum(0), np.abs(at).max(0)
    own = np.array([_turn(axis) for axis in pair])
    return np.where(np.abs(begin) > 1e-3 * reach, -np.sign(begin), own)


def _turn(axis: Params) -> float:
    """The ±1 by which a unit vector in parts stands as :mod:`xmodal_lab.utils.factors` says."""
    largest = max(float(part.abs().max()) for part in axis.values() if part.numel())
    for part in axis.values():
        flat = part.reshape(-1)
        near = flat.abs() >= largest * (1 - torch.finfo(flat.dtype).eps ** 0.5)
        if bool(near.any()):
            return -1.0 if float(flat[near.to(torch.uint8).argmax()]) < 0 else 1.0
    return 1.0
