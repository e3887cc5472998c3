"""2-Wasserstein distance between two clouds of points: exact, Gaussian, sliced, entropic.

The public names live in :mod:`xmodal_lab.transport`.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...utils import checks as check
from ...utils.effort import tell_if_long
from ...utils.memory import free_bytes, gigabytes, require
from ...utils.points import cloud, floating, magnitude, squared_distances
from ...utils.shapes import Float, Int
from ...utils.torch_state import full_precision, has_float64, wide
from . import scaling
from .plans import entropic_plan
from .simplex import simplex

METHODS = ("exact", "gaussian", "sliced", "entropic")

# Pairs of points above which an exact distance takes over 1 GB and ten seconds (ours).
EXACT_PAIRS = 25_000_000
# Memory that a pair of points takes (measured): exact; entropic by its plan, and where factors of rows and columns do.
EXACT_BYTES, ENTROPIC_BYTES, SCALED_BYTES = 50, 40, 11
# Numbers that the sliced distance sorts at a time (ours): 32 MB in single precision.
_SORTED_AT_ONCE = 1 << 23
# Of the 52 binary digits of a double, a number of single precision leaves 29 empty.
_PLACES = 1 << 29
# When the entropic distance stops (ours).
_MARGINAL_ERROR, _SWEEPS = 1e-3, 5000
# Sweeps that it takes more often than not (ours, measured).
USUAL_SWEEPS = 50


def w2(
    a: Any,
    b: Any,
    method: str = "exact",
    *,
    weights_a: Any = None,
    weights_b: Any = None,
    projections: int | Tensor = 256,
    seed: int = 0,
    scaled: bool = False,
    blur: float = 0.05,
    debiased: bool = True,
) -> Tensor:
    """2-Wasserstein distance W2 (not squared) between two clouds of points, in the units of the points.

    ``exact``: W2 between the two empirical distributions, by network simplex in float64. Between samples of two
    laws it is mostly sampling bias in many dimensions: see :func:`sampling_bias`.

    ``gaussian``: W2 between the Gaussians with the clouds' means and covariances (1/N), the Bures distance
    √(‖μ_a - μ_b‖² + Tr(A + B - 2(A^½ B A^½)^½)). Another quantity, and never above the exact one (Gelbrich 1990).

    ``sliced``: √(mean over random directions θ of W2²(θᵀa, θᵀb)), as in Bonneel et al. 2015 and POT. At most
    W2/√d. ``scaled`` multiplies by √d: right for shifts, still a lower bound up to Monte Carlo error, whose size
    :func:`sliced_w2` gives.

    ``entropic``: √ of the Sinkhorn divergence OT_ε(a, b) - ½ OT_ε(a, a) - ½ OT_ε(b, b) (Feydy et al. 2019), with
    OT_ε = min ⟨C, T⟩ + ε KL(T ‖ a⊗b). ``debiased=False``: √OT_ε(a, b), which is above W2, also for a = b.

    All are differentiable in the points (not in the weights). Equal clouds give 0 with gradient 0, except the
    entropic distance that is not debiased.

    Args:
        a: (n, d) points, tensor or array.
        b: (m, d) points.
        method: which distance.
        weights_a, weights_b: (n,), (m,) masses ≥ 0, brought to sum 1. None: uniform.
        projections: for sliced, how many directions (256: ours), or the directions themselves, (d, L) unit columns.
        seed: for sliced, of the directions.
        scaled: for sliced, multiply by √d.
        blur: for entropic, ε as a share of the mean squared distance between the clouds (0.05: ours); gradients
            hold ε fixed.
        debiased: for entropic, subtract the clouds' distances to themselves.

    Returns:
        0-d tensor in the dtype of the points.

    Warns:
        UserWarning: exact on more than ``EXACT_PAIRS`` pairs, entropic where it takes more than about a minute; exact
            or entropic did not converge.

    Raises:
        ValueError: an empty cloud, NaN or Inf, clouds of different dimension or on different devices, weights that do
            not fit; exact or entropic distances that need more memory than is left (told before any work).

    Example:
        >>> import torch
        >>> import xmodal_lab as xl
        >>> a = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
        >>> float(xl.transport.w2(a, a + torch.tensor([3.0, 4.0])))  # moved by 5, in whatever order
        5.0
    """
    check.one_of("method", method, METHODS)
    clouds = _Clouds.of(a, b, weights_a, weights_b)
    blur = check.positive("blur", blur)
    if method == "sliced":
        return _sliced(clouds, projections, seed, scaled).value
    if clouds.equal() and (debiased or method != "entropic"):
        return clouds.zero()
    if method == "exact":
        return _exact(clouds)
    return _gaussian(clouds) if method == "gaussian" else _entropic(clouds, blur, debiased)


@dataclass(frozen=True, eq=False)
class SlicedW2:
    """A sliced distance with its Monte Carlo error.

    Attributes:
        value: 0-d, what ``w2(..., method="sliced")`` returns.
        stderr: standard error of ``value`` from the spread over directions (delta method for the root); NaN for one.
        squared: (L,) W2² along each direction, times d if scaled; ``value`` is √mean.
    """

    value: Tensor
    stderr: float
    squared: Tensor


def sliced_w2(
    a: Any,
    b: Any,
    *,
    weights_a: Any = None,
    weights_b: Any = None,
    projections: int | Tensor = 256,
    seed: int = 0,
    scaled: bool = False,
) -> SlicedW2:
    """The sliced distance of :func:`w2`, with standard error and the values per direction.

    Arguments, formula and errors as there.

    Example:
        >>> import torch
        >>> import xmodal_lab as xl
        >>> a = torch.randn(200, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float32)
        >>> found = xl.transport.sliced_w2(a, a + 1.0, scaled=True)  # scaled: √d times, here √3 for a shift
        >>> bool(abs(found.value - 3**0.5) < 3 * found.stderr)
        True
    """
    return _sliced(_Clouds.of(a, b, weights_a, weights_b), projections, seed, scaled)


@dataclass(frozen=True, eq=False)
class _Clouds:
    """Two checked clouds of one dtype, d and device; weights are None where uniform, else float64 with sum 1."""

    a: Tensor
    b: Tensor
    weights_a: Tensor | None
    weights_b: Tensor | None

    @staticmethod
    def of(a: Any, b: Any, weights_a: Any = None, weights_b: Any = None) -> _Clouds:
        a, b = cloud("a", a), cloud("b", b)
        if a.shape[1] != b.shape[1]:
            raise ValueError(
                f"the clouds have different dimension: a has {a.shape[1]} columns, b has {b.shape[1]}; "
                "project both into one space first."
            )
        check.one_device(a=a, b=b)
        dtype = torch.promote_types(a.dtype, b.dtype)
        return _Clouds(
            a.to(dtype), b.to(dtype), _weights("weights_a", weights_a, a), _weights("weights_b", weights_b, b)
        )

    def equal(self) -> bool:
        """Whether both hold the same points with the same masses, in whatever order.

        Asked, not left to the sums: a matrix product may round a row of it by the place where that row stands.
        """
        a, b = self.a.detach(), self.b.detach()
        if bool(a[:, 0].amin() != b[:, 0].amin()) or bool(a[:, 0].amax() != b[:, 0].amax()):
            return False  # most clouds
        if not torch.equal(a[:, 0].unique(), b[:, 0].unique()):
            return False
        points, which = torch.cat([a, b]).unique(dim=0, return_inverse=True)
        masses = torch.cat([_mass(self.weights_a, wide(a)), -_mass(self.weights_b, wide(b))])
        left = masses.new_zeros(len(points)).index_add(0, which, masses)
        # Masses are quotients and sums of them, each within the rounding of float64 (ours: some thousand of them).
        return bool((left.abs() <= 1e-12 * masses.new_zeros(len(points)).index_add(0, which, masses.abs())).all())

    def zero(self) -> Tensor:
        """0 with gradient 0 in the points."""
        return ((self.a * 0).sum() + (self.b * 0).sum()).abs()

    def double(self) -> tuple[Tensor, Tensor, Tensor, Tensor, float]:
        """Points and weights in float64, and a unit: the clouds lie about the origin, of a size near 1 in that unit."""
        unit = magnitude(self.a, self.b)
        a, b = wide(self.a) / unit, wide(self.b) / unit
        centre = a.detach().mean(0)
        return a - centre, b - centre, _mass(self.weights_a, a), _mass(self.weights_b, b), unit


def _weights(what: str, value: Any, points: Tensor) -> Tensor | None:
    if value is None:
        return None
    weights = check.as_tensor(what, value, torch.float64).detach()
    weights = weights.to(points.device) if has_float64(points.device) else weights.cpu()
    if weights.shape != points.shape[:1]:
        raise ValueError(f"{what} must have shape ({len(points)},), one per point, got {tuple(weights.shape)}.")
    check.finite(what, weights)
    if bool((weights < 0).any()) or not bool(weights.sum() > 0):
        raise ValueError(f"{what} must be at least 0 and not all 0, got a minimum of {float(weights.min()):g}.")
    return weights / weights.sum()


def _mass(weights: Tensor | None, points: Tensor) -> Tensor:
    if weights is not None:
        return weights
    return torch.full((len(points),), 1 / len(points), dtype=torch.float64, device=points.device)


def _instead(bytes_a_pair: int, device: torch.device | None = None) -> str:
    """The way out for clouds that are too large: how many points fit in half of what is left."""
    fit = math.isqrt(max(0, (free_bytes(device) or 0) // (2 * bytes_a_pair)))
    return f"use a random subset of each cloud, of {fit} points say, or method='sliced', which needs none of it"


def _root(squared: Tensor, resolution: float | Tensor = 0.0) -> Tensor:
    """√, with 0 and gradient 0 up to ``resolution``, below which there is only rounding."""
    above = squared > resolution
    return torch.where(above, torch.where(above, squared, 1).sqrt(), 0)


def _exact(clouds: _Clouds) -> Tensor:
    a, b, mass_a, mass_b, unit = clouds.double()
    needed = EXACT_BYTES * len(a) * len(b)
    require(f"exact W2 between {len(a)} and {len(b)} points", needed, _instead(EXACT_BYTES), torch.device("cpu"))
    if len(a) * len(b) > EXACT_PAIRS:
        warnings.warn(
            f"exact W2 between {len(a)} and {len(b)} points takes about {gigabytes(needed)} and a time "
            "that grows with the cube; use a random subset of each cloud, or method='sliced'.",
            stacklevel=3,
        )
    with torch.no_grad():
        cost = squared_distances(a, b).cpu().numpy()
        plan, optimal = simplex(mass_a.cpu().numpy(), mass_b.cpu().numpy(), cost)
    if not optimal:
        warnings.warn("exact W2 did not converge: POT's network simplex ran out of pivots.", stacklevel=3)
    # Only n + m - 1 entries carry mass: summing over them gives exactly 0 for equal clouds, and is the
    # envelope gradient when differentiated.
    rows, columns = np.nonzero(plan)
    mass = torch.from_numpy(plan[rows, columns]).to(a.device)
    apart = a[torch.from_numpy(rows).to(a.device)] - b[torch.from_numpy(columns).to(a.device)]
    return (unit * _root((mass * apart.square().sum(-1)).sum())).to(clouds.a)


def _gaussian(clouds: _Clouds) -> Tensor:
    a, b, mass_a, mass_b, unit = clouds.double()
    mean_a, mean_b = mass_a @ a, mass_b @ b
    a, b = (a - mean_a) * mass_a.sqrt()[:, None], (b - mean_b) * mass_b.sqrt()[:, None]  # covariances aᵀa, bᵀb
    # Tr (A^½ B A^½)^½ is the nuclear norm of a bᵀ, and W2² of the centred Gaussians is min ‖aᵀU - bᵀV‖² over
    # orthonormal U, V (Procrustes). At the minimum they may be held constant, so no eigenvalue is differentiated.
    with torch.no_grad():
        (basis_a, r_a), (basis_b, r_b) = torch.linalg.qr(a), torch.linalg.qr(b)
        left, _, right = torch.linalg.svd(r_a @ r_b.T)
        u, v = basis_a @ left, basis_b @ right.T
    rank = min(u.shape[1], v.shape[1])
    along_a, along_b = a.T @ u, b.T @ v
    apart = (along_a[:, :rank] - along_b[:, :rank]).square().sum()
    rest = along_a[:, rank:].square().sum() + along_b[:, rank:].square().sum()
    spread = a.detach().square().sum() + b.detach().square().sum()
    return (unit * _root((mean_a - mean_b).square().sum() + apart + rest, 1e-24 * spread)).to(clouds.a)


@full_precision()
def _sliced(clouds: _Clouds, projections: int | Tensor, seed: int, scaled: bool) -> SlicedW2:
    unit = magnitude(clouds.a, clouds.b)
    a, b = clouds.a / unit, clouds.b / unit
    d = a.shape[1]
    directions = _directions(projections, d, check.integer("seed", seed)).to(a)
    if clouds.equal():
        return SlicedW2(clouds.zero(), 0.0, clouds.zero().expand(len(directions)))
    size = max(1, _SORTED_AT_ONCE // (len(a) + len(b)))
    parts = []
    for theta in directions.split(size):
        on_a, on_b = theta @ a.T, theta @ b.T
        if clouds.weights_a is None and clouds.weights_b is None:
            parts.append(_matched(on_a, on_b) if len(a) == len(b) else _on_lines(_sorted(on_a), _sorted(on_b)))
        else:
            parts.append(_on_weighted_lines(on_a, _mass(clouds.weights_a, a), on_b, _mass(clouds.weights_b, b)))
    squared = torch.cat(parts) * (d if scaled else 1)
    value = _root(squared.mean())
    spread = float(wide(squared.detach()).std()) if len(squared) > 1 else math.nan
    root = float(value.detach())
    stderr = spread / math.sqrt(len(squared)) / (2 * root) if root > 0 else 0.0
    whole = squared * unit * unit
    if not bool(torch.isfinite(whole.detach()).all()):
        raise ValueError(
            f"the points reach {unit:.2g}, and their squared distances overflow {squared.dtype}; "
            "use .double(), or divide both clouds by one number."
        )
    return SlicedW2(unit * value, unit * stderr, whole)


def _directions(projections: int | Tensor, d: int, seed: int) -> Float[Tensor, "l d"]:
    """Unit directions as rows, drawn or given (d, L) as columns."""
    if isinstance(projections, (Tensor, np.ndarray)):
        given = floating("projections", projections)
        if given.ndim != 2 or given.shape[0] != d or given.shape[1] == 0:
            raise ValueError(
                f"projections must have shape ({d}, L), one unit direction per column, got {tuple(given.shape)}."
            )
        length = check.finite("projections", given).norm(dim=0)
        if not bool(((length - 1).abs() < 1e-3).all()):
            raise ValueError(f"projections must have columns of length 1, got lengths up to {float(length.max()):g}.")
        return given.T
    count = check.integer("projections", projections, at_least=1)
    drawn = torch.randn(count, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.nn.functional.normalize(drawn, dim=1)


def _sorted(x: Tensor) -> Tensor:
    if x.device.type == "cpu" and not x.requires_grad:  # NumPy sorts with vector instructions, 10x faster than torch
        return torch.from_numpy(np.sort(x.numpy(), axis=-1))
    return x.gather(-1, _order(x))


def _order(x: Tensor) -> Tensor:
    """The order that sorts each row, for gradients and weights to follow."""
    if x.device.type == "cpu":
        values = x.detach().numpy()
        if values.dtype == np.float32 and values.shape[-1] <= _PLACES:
            # With its place in the digits that single precision leaves empty a number is sorted by vector
            # instructions, together with its place; argsort takes two and a half times as long.
            found = values.astype(np.float64)
            placed = found.view(np.int64)
            placed |= np.arange(values.shape[-1])
            found.sort(axis=-1)
            placed &= _PLACES - 1
            return torch.from_numpy(placed)
        return torch.from_numpy(np.argsort(values, axis=-1))
    return x.argsort(dim=-1)


def _matched(x: Tensor, y: Tensor) -> Tensor:
    """:func:`_on_lines` for equally many points: each beside its partner, where only one side needs a gradient.

    Partners stay partners under small moves, so that only numbers are differentiated, not the sorting.
    """
    if x.requires_grad == y.requires_grad:
        return _on_lines(_sorted(x), _sorted(y))
    moving, still = (x, y) if x.requires_grad else (y, x)
    partner = torch.empty_like(still).scatter_(-1, _order(moving), _sorted(still))
    return (moving - partner).square().mean(-1)


@check.shapechecked
def _on_lines(x: Float[Tensor, "l n"], y: Float[Tensor, "l m"]) -> Float[Tensor, " l"]:
    """W2² between the sorted points of each line: ∫ (F⁻¹ - G⁻¹)², exactly, also for n ≠ m."""
    n, m = x.shape[1], y.shape[1]
    if n == m:
        return (x - y).square().mean(-1)
    # Both quantile functions are constant between multiples of 1/n and 1/m; counted in units of 1/(nm).
    ends = torch.cat([torch.arange(1, n + 1) * m, torch.arange(1, m + 1) * n]).unique()
    starts = torch.cat([ends.new_zeros(1), ends[:-1]])
    width = ((ends - starts).double() / (n * m)).to(x.dtype).to(x.device)
    return _gather_squared(x, (starts // m).to(x.device), y, (starts // n).to(x.device), width)


def _on_weighted_lines(x: Tensor, mass_x: Tensor, y: Tensor, mass_y: Tensor) -> Tensor:
    """As :func:`_on_lines` for unsorted points with weights, where the steps differ from line to line."""
    order_x, order_y = _order(x), _order(y)
    x, y = x.gather(-1, order_x), y.gather(-1, order_y)
    up_to_x, up_to_y = mass_x[order_x].cumsum(-1), mass_y[order_y].cumsum(-1)
    ends = _sorted(torch.cat([up_to_x, up_to_y], -1))
    width = ends.diff(dim=-1, prepend=ends.new_zeros(len(ends), 1))
    middle = ends - width / 2
    at_x = torch.searchsorted(up_to_x, middle).clamp_max(x.shape[1] - 1)
    at_y = torch.searchsorted(up_to_y, middle).clamp_max(y.shape[1] - 1)
    return (width.to(x) * (x.gather(-1, at_x) - y.gather(-1, at_y)).square()).sum(-1)


@check.shapechecked
def _gather_squared(
    x: Float[Tensor, "l n"],
    at_x: Int[Tensor, " k"],
    y: Float[Tensor, "l m"],
    at_y: Int[Tensor, " k"],
    width: Float[Tensor, " k"],
) -> Float[Tensor, " l"]:
    return (x[:, at_x] - y[:, at_y]).square() @ width


def _entropic(clouds: _Clouds, blur: float, debiased: bool) -> Tensor:
    a, b, mass_a, mass_b, unit = clouds.double()
    with torch.no_grad():
        apart = mass_a @ a.square().sum(1) + mass_b @ b.square().sum(1) - 2 * (mass_a @ a) @ (mass_b @ b)
        epsilon = blur * max(0.0, float(apart))  # the mean squared distance
    pairs = max(len(a), len(b)) ** 2 if debiased else len(a) * len(b)
    needed = _bytes_of_a_pair(a, b, epsilon)
    what = f"entropic W2 between {len(a)} and {len(b)} points"
    require(what, needed * pairs, _instead(needed, clouds.a.device), clouds.a.device)
    sweeps = USUAL_SWEEPS * (3 if debiased else 1)
    told = f"{what}, which takes about {gigabytes(needed * pairs)} of memory,"
    tell_if_long(told, sweeps * pairs, "use a random subset of each cloud, or method='sliced'", stacklevel=4)
    if epsilon == 0:  # every point is the same point
        return _root((a.sum() - b.sum()) * 0).to(clouds.a)
    squared = _regularised(a, mass_a, b, mass_b, epsilon)
    if debiased:
        squared = squared - 0.5 * _regularised(a, mass_a, a, mass_a, epsilon)
        squared = squared - 0.5 * _regularised(b, mass_b, b, mass_b, epsilon)
    # The three terms are of the size of ε / blur and agree to about 12 digits where the clouds are equal.
    return (unit * _root(squared, 1e-12 * epsilon / blur)).to(clouds.a)


@dataclass(frozen=True, eq=False)
class _Entropic:
    """What OT_ε and its gradient need of the optimal T: no more than sums over it.

    Attributes:
        u, v: (n,), (m,) potentials; log T = log a⊗b + u + v - C/ε.
        rows: (n,) T1, near the masses of a; Tᵀ1 are the masses of b.
        onto_b, onto_a: (n, d) T b and (m, d) Tᵀa, if a gradient is wanted.
        made: sweeps.
    """

    u: Tensor
    v: Tensor
    rows: Tensor
    onto_b: Tensor | None
    onto_a: Tensor | None
    made: int


def _bytes_of_a_pair(a: Tensor, b: Tensor, epsilon: float) -> int:
    """What a pair of points will take: less where no distance can be so large that exp(-C/ε) underflows."""
    with torch.no_grad():
        reach = 2 * max(float(side.square().sum(1).amax()) ** 0.5 for side in (a, b))
    return SCALED_BYTES if reach**2 < epsilon * scaling.SPREAD[a.dtype] / 2 else ENTROPIC_BYTES


def _regularised(a: Tensor, mass_a: Tensor, b: Tensor, mass_b: Tensor, epsilon: float) -> Tensor:
    """OT_ε = ⟨C, T⟩ + ε KL(T ‖ a⊗b) at the optimal T, with its envelope gradient in the points."""
    wanted = torch.is_grad_enabled() and (a.requires_grad or b.requires_grad)
    with torch.no_grad():
        found = _by_scaling(a, mass_a, b, mass_b, epsilon, wanted) or _by_plan(a, mass_a, b, mass_b, epsilon)
        error = float((found.rows - mass_a).abs().sum())
    if error > _MARGINAL_ERROR:
        warnings.warn(
            f"entropic W2 did not converge in {found.made} iterations (marginal error {error:.2g}); raise blur.",
            stacklevel=4,
        )
    # The dual value: what is left of the marginal error enters it squared, while it enters ⟨C, T⟩ as it is.
    dual = epsilon * (mass_a @ found.u + mass_b @ found.v)
    if not wanted or found.onto_a is None or found.onto_b is None:
        return dual
    # ⟨C, T⟩ with T a constant, without a table of C: its value is left out, its slope is the envelope's.
    moved = found.rows @ a.square().sum(1) + mass_b @ b.square().sum(1)
    moved = moved - 2 * ((found.onto_b * a).sum() + (found.onto_a * b).sum())
    return dual + (moved - moved.detach())


def _by_scaling(a: Tensor, mass_a: Tensor, b: Tensor, mass_b: Tensor, epsilon: float, wanted: bool) -> _Entropic | None:
    """By factors of rows and columns of exp(-C/ε), which one product of the points gives; None where it underflows."""
    ones = torch.ones_like(a[:, :1]), torch.ones_like(b[:, :1])
    lengths = a.square().sum(1, keepdim=True), b.square().sum(1, keepdim=True)
    left = torch.cat([2 * a, -lengths[0], -ones[0]], 1) / epsilon
    kernel = left @ torch.cat([b, ones[1], lengths[1]], 1).T
    if float(kernel.amin()) < -scaling.SPREAD.get(kernel.dtype, 0.0) / 2:
        return None
    kernel.exp_()
    on_rows, on_columns, made = scaling.scaled(kernel[None], mass_a[None], mass_b[None], _SWEEPS, _MARGINAL_ERROR)
    r, s = on_rows[0], on_columns[0]
    u, v = scaling.potential(r, mass_a), scaling.potential(s, mass_b)
    if u is None or v is None:
        return None
    onto_b = r[:, None] * (kernel @ (s[:, None] * b)) if wanted else None
    onto_a = s[:, None] * (kernel.T @ (r[:, None] * a)) if wanted else None
    return _Entropic(u, v, r * (kernel @ s), onto_b, onto_a, made)


def _by_plan(a: Tensor, mass_a: Tensor, b: Tensor, mass_b: Tensor, epsilon: float) -> _Entropic:
    """By the plan itself, in whichever domain holds it."""
    what = f"the plan of entropic W2 between {len(a)} and {len(b)} points, as exp(-C/ε) underflows,"
    require(what, ENTROPIC_BYTES * len(a) * len(b), _instead(ENTROPIC_BYTES, a.device), a.device)
    cost = squared_distances(a, b)
    found, u, v, made = entropic_plan(cost[None], mass_a[None], mass_b[None], epsilon, _SWEEPS, _MARGINAL_ERROR)
    plan = found[0]
    return _Entropic(u[0], v[0], plan.sum(1), plan @ b, plan.T @ a, made)
