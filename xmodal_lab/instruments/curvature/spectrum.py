"""Curvature of a loss: Hessian products, leading eigenvalues, spectral density, trace.

Everything takes a :class:`~xmodal_lab.losses.Loss`, for the whole of θ or one block of it
(``params="encoders.image"``), and never forms the matrix unless it is small. To measure
several things at one point, build ``H = hessian(loss)`` once and hand it over in place of the loss.

The dml code reports λ_max of the loss plus ½·10⁻⁴‖θ‖² (FIELD_NOTES), which shifts every
eigenvalue by 10⁻⁴; that is a loss like any other: add the term in ``fn``.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from ...losses import Loss, Params, as_loss
from ...losses.directions import norm_of
from ...utils import checks as check
from ...utils.factors import eigh, signs
from ...utils.shapes import Float
from ...utils.torch_state import wide
from .lanczos import Array, Krylov, leading
from .operator import TOGETHER, Hessian
from .spectral_axis import lambdas, on_lambdas

if TYPE_CHECKING:
    import xarray as xr

R = TypeVar("R")

# Up to this size the matrix is formed and solved exactly: as many products as a Lanczos run needs (ours).
DENSE = 128

_SCORES: dict[str, Callable[[Array], Array]] = {
    "largest": lambda values: values,
    "smallest": lambda values: -values,
    "magnitude": np.abs,
}


def hessian(
    loss: Loss,
    params: str | Sequence[str] | None = None,
    *,
    rows: int | None = None,
    dtype: torch.dtype | None = None,
) -> Hessian:
    """The Hessian ∇²L(θ), or the diagonal block of some parameters, as a linear operator.

    Args:
        loss: any loss; it must be twice differentiable and deterministic.
        params: a block of ``loss.blocks``, a modality (its encoder), a parameter name, several of these; None for all.
        rows: samples per chunk of a loss over data; chosen to fit the cache when not given.
        dtype: of the products; the loss's own when not given, at least float32, which is enough for eigenvalues
            (1e-7 of the largest against dense float64, FIELD_NOTES).

    Returns:
        :class:`Hessian` with ``.matvec``, ``.dense()``, ``.as_dict``, ``.as_vector``, ``.size``.

    Raises:
        ValueError: a name that does not exist, a loss that is NaN, infinite or stochastic at θ.
        TypeError: ``loss`` is not a Loss.
    """
    return Hessian(loss, params, rows, dtype)


# -- eigenvalues -------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Eigenvalues:
    """Leading eigenvalues of a Hessian.

    Attributes:
        values: (k,) float64, signed; the order says ``which``.
        vectors: k unit-norm dicts shaped like the parameters, if asked for; else empty.
        errors: (k,) bounds of the distance to an eigenvalue: the residual, or residual²/gap where that is smaller.
        residuals: (k,) norms ‖Hv - λv‖.
        converged: whether every error is within the tolerance.
        hvps: Hessian-vector products spent.
        which: "largest" (descending), "smallest" (ascending) or "magnitude" (descending absolute value).
        names: the parameters of the block.
        loss: L(θ); λ_max depends on it, so report both.
    """

    values: Float[Tensor, " k"]
    errors: Float[Tensor, " k"]
    residuals: Float[Tensor, " k"]
    converged: bool
    hvps: int
    which: str
    names: tuple[str, ...] = field(repr=False)
    loss: float
    vectors: tuple[Params, ...] = field(default=(), repr=False)

    @property
    def ratio(self) -> float:
        """λ* = λ_max / λ_5 (dml Tab 4); negative or infinite where λ_5 is not above zero.

        Raises:
            ValueError: fewer than five eigenvalues, or not the largest ones.
        """
        if self.which != "largest" or len(self.values) < 5:
            raise ValueError(
                f"λ* = λ_max/λ_5 needs the 5 largest eigenvalues, got {len(self.values)} of which={self.which!r}."
            )
        first, fifth = float(self.values[0]), float(self.values[4])
        return first / fifth if fifth else math.copysign(math.inf, first) if first else math.nan


def top_eigenvalues(
    loss: Loss | Hessian,
    k: int = 5,
    which: str = "largest",
    *,
    tol: float = 1e-4,
    max_iterations: int = 300,
    seed: int = 0,
    params: str | Sequence[str] | None = None,
    vectors: bool = False,
    dtype: torch.dtype | None = None,
) -> Eigenvalues:
    """The k leading eigenvalues of the Hessian: λ₁ ≥ λ₂ ≥ …, signed.

    Lanczos with full double reorthogonalisation. It stops when residual²/gap says that an
    eigenvalue lies within ``tol`` of each value, then looks again from a new start for repeated
    eigenvalues. (Where the k-th lies in a dense bulk, the eigenvalue so near may be the next one.)
    Where the matrix is small, or k near its size, it is formed and solved.
    Unlike power iteration, which returns the largest absolute value, this is right for an indefinite Hessian.

    Args:
        loss: a loss, or the operator that :func:`hessian` made of it.
        k: how many.
        which: "largest", "smallest" (most negative first) or "magnitude".
        tol: relative error of each value (1e-4: ours; PyHessian's 1e-3 compares successive steps instead).
        max_iterations: most Hessian-vector products (ours).
        seed: of the start vectors.
        params, dtype: as in :func:`hessian`.
        vectors: return the eigenvectors too.

    Returns:
        ``values`` (k,), with error bounds, whether they converged, and how many products were spent.

    Raises:
        ValueError: k below 1 or above the dimension; as :func:`hessian`.

    Warns:
        RuntimeWarning: not converged; ``.errors`` says how far.

    Example:
        >>> import torch
        >>> import xmodal_lab as xl
        >>> bowl = xl.Loss(lambda p: (p["w"] ** 2 * torch.tensor([3.0, 1.0])).sum(), {"w": torch.ones(2)})
        >>> found = xl.curvature.top_eigenvalues(bowl, k=2)
        >>> [round(float(v), 4) for v in found.values], found.converged
        ([6.0, 2.0], True)
    """
    which = check.one_of("which", which, _SCORES)
    k = check.integer("k", k, at_least=1)
    tol = check.positive("tol", tol)
    max_iterations = check.integer("max_iterations", max_iterations, at_least=1)
    operator = _operator(loss, params, dtype)
    n = operator.size
    if k > n:
        raise ValueError(f"k = {k} eigenvalues were asked of a Hessian of dimension {n}; ask for at most {n}.")
    before = operator.products
    if n <= DENSE or 4 * k >= n:
        matrix = operator.dense()
        spectrum, basis = eigh(matrix)
        best = np.argsort(-_SCORES[which](spectrum.numpy()), kind="stable")[:k]
        values, found = spectrum.numpy()[best], basis.T[torch.as_tensor(best)]
        residuals = (found @ matrix - torch.as_tensor(values)[:, None] * found).norm(dim=1).numpy()
        rounding = torch.finfo(operator.dtype).eps * float(spectrum.abs().max())
        errors, converged = np.maximum(residuals, rounding), True
    else:
        pairs = leading(
            operator.matvec,
            n,
            k,
            _SCORES[which],
            tol,
            max_iterations,
            seed,
            operator.dtype,
            operator.device,
            operator.product,
        )
        values, found, residuals, errors = pairs.values, pairs.vectors, pairs.residuals, pairs.errors
        converged = pairs.converged
    for vector in found:  # one at a time: they may be large
        vector *= signs(vector[:, None])
    result = Eigenvalues(
        values=torch.as_tensor(values),
        errors=torch.as_tensor(errors),
        residuals=torch.as_tensor(residuals),
        converged=converged,
        hvps=operator.products - before,
        which=which,
        names=operator.names,
        loss=operator.value,
        vectors=tuple(operator.as_dict(v.to(operator.device, operator.dtype)) for v in found) if vectors else (),
    )
    if not converged:
        warnings.warn(
            f"top_eigenvalues did not reach tol={tol:g} in {result.hvps} products: {len(values)} of {k} values, "
            f"error bounds up to {errors.max(initial=0.0):.2g}. Raise max_iterations or tol.",
            RuntimeWarning,
            stacklevel=2,
        )
    return result


# -- density and trace -------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Density:
    """Spectral density of a Hessian: Gauss quadrature nodes and weights, one row per probe.

    The products are spent; another grid or bandwidth costs nothing (:meth:`smoothed`).

    Attributes:
        nodes: (probes, steps) Ritz values.
        weights: (probes, steps), each row sums to 1.
        size: n, number of eigenvalues.
        exact: whether the nodes are all the eigenvalues.
        sigma: standard deviation of the Gaussian that ``density`` is smoothed with.
        hvps: Hessian-vector products spent.
        names: the parameters of the block.
    """

    nodes: Float[Tensor, "probes steps"]
    weights: Float[Tensor, "probes steps"]
    size: int
    exact: bool
    sigma: float
    hvps: int
    names: tuple[str, ...] = field(repr=False)

    @property
    def grid(self) -> Float[Tensor, " points"]:
        """λ, from 6 σ below the smallest node to 6 σ above the largest, in steps of at most σ/4."""
        low, high = float(self.nodes.min()) - 6 * self.sigma, float(self.nodes.max()) + 6 * self.sigma
        return torch.linspace(low, high, max(512, math.ceil(4 * (high - low) / self.sigma) + 1), dtype=torch.float64)

    @property
    def density(self) -> Float[Tensor, " points"]:
        """p(λ) on ``grid``; integrates to 1."""
        return self.smoothed(self.grid)

    def smoothed(self, grid: Tensor | Sequence[float], sigma: float | None = None) -> Float[Tensor, " points"]:
        """Σ wᵢ N(λ; θᵢ, σ²), a mean over probes, at every λ of ``grid``.

        Raises:
            ValueError: ``grid`` is not a vector of finite numbers, or ``sigma`` not above 0.
        """
        points = check.finite("grid", check.as_tensor("grid", grid, torch.float64))
        if points.ndim != 1 or len(points) == 0:
            raise ValueError(f"grid must have shape (points,), got {tuple(points.shape)}.")
        width = self.sigma if sigma is None else check.positive("sigma", sigma)
        nodes, weights = self.nodes.reshape(-1), self.weights.reshape(-1) / len(self.nodes)
        used = weights > 0
        bells = torch.exp(-0.5 * ((points[:, None] - nodes[used]) / width) ** 2) / (width * math.sqrt(2 * math.pi))
        return bells @ weights[used]

    def moment(self, power: int) -> float:
        """Mean of λ^power over the spectrum: tr(Hᵖ)/n."""
        power = check.integer("power", power, at_least=0)
        return float((self.weights * self.nodes**power).sum(1).mean())

    @property
    def trace(self) -> float:
        """Trace of H: n times the mean of the spectrum."""
        return self.size * self.moment(1)

    def to_xarray(self) -> xr.DataArray:
        """The density on an axis that all spectra share, for sweeps, plots and live views.

        Returns:
            (lambda_) float64, λ = 0.1 sinh(u) from -10⁴ to 10⁴ in equal steps of u: linear near 0, logarithmic on
            both sides; per unit of u, so that it integrates to 1 over u. What lies beyond counts at the ends.
            ``attrs`` hold the trace, the number of eigenvalues and the products spent.

        Example:
            >>> import torch
            >>> import xmodal_lab as xl
            >>> bowl = xl.Loss(lambda p: (p["w"] ** 2).sum(), {"w": torch.tensor([3.0, 4.0])})
            >>> spectrum = xl.curvature.density(bowl).to_xarray()
            >>> round(float(spectrum.idxmax()), 1)  # near 2, on the nearest point of the axis
            2.3
        """
        import xarray as xr

        told = {"long_name": "spectral density", "units": "per unit of asinh(λ / 0.1)", "trace": self.trace,
                "size": self.size, "hvps": self.hvps}  # fmt: skip
        axis = ("lambda_", lambdas(), {"long_name": "eigenvalue λ"})
        return xr.DataArray(on_lambdas(self.nodes, self.weights), {"lambda_": axis}, ("lambda_",), "density", told)


def density(
    loss: Loss | Hessian,
    *,
    steps: int = 50,
    probes: int = 4,
    bandwidth: float = 0.01,
    seed: int = 0,
    params: str | Sequence[str] | None = None,
    dtype: torch.dtype | None = None,
) -> Density:
    """Spectral density by stochastic Lanczos quadrature: p(λ) = (1/n) Σ δ(λ - λᵢ), smoothed.

    Each probe is a random vector v; the Lanczos matrix T of v gives Gauss quadrature nodes θ
    (its eigenvalues) and weights (squared first entries of its eigenvectors) for vᵀ f(H) v,
    exact for polynomials f of degree 2·steps - 1 (Ghorbani et al. 2019; Ubaru et al. 2017).
    Where n ≤ steps the nodes are the eigenvalues.

    Args:
        loss: a loss, or the operator that :func:`hessian` made of it.
        steps, probes: Lanczos steps per probe and probes (ours; cost: their product in HVPs).
        bandwidth: σ of the smoothing as a share of the spectrum's width (ours).
        seed: of the probes.
        params, dtype: as in :func:`hessian`.

    Returns:
        Nodes and weights of each probe; ``grid`` and ``density`` show them smoothed.

    Raises:
        ValueError: as :func:`hessian`; steps, probes or bandwidth not positive.
    """
    steps, probes = check.integer("steps", steps, at_least=1), check.integer("probes", probes, at_least=1)
    bandwidth = check.positive("bandwidth", bandwidth)
    operator = _operator(loss, params, dtype)
    before, n = operator.products, operator.size
    if n <= steps:
        nodes = torch.linalg.eigvalsh(operator.dense())[None]
        weights = torch.full_like(nodes, 1 / n)
    else:
        nodes = torch.zeros(probes, steps, dtype=torch.float64)
        weights = torch.zeros(probes, steps, dtype=torch.float64)
        generator = torch.Generator().manual_seed(check.integer("seed", seed))
        for i in range(probes):
            start = torch.randn(n, generator=generator, dtype=operator.dtype).to(operator.device)
            krylov = Krylov(operator.matvec, start, start.new_empty(0, n), steps, unlooked=operator.product)
            while krylov.steps < steps and not (krylov.steps and krylov.complete):
                krylov.advance(steps - krylov.steps)
            theta, coordinates, _ = krylov.ritz()
            nodes[i] = float(theta[0])  # where the run ended early, the rest repeats with weight 0
            nodes[i, : len(theta)] = torch.as_tensor(theta)
            weights[i, : len(theta)] = torch.as_tensor(coordinates[0] ** 2)
    width = float(nodes.max() - nodes.min())
    return Density(
        nodes=nodes,
        weights=weights,
        size=n,
        exact=n <= steps,
        sigma=bandwidth * (width or float(nodes.abs().max()) or 1.0),
        hvps=operator.products - before,
        names=operator.names,
    )


@dataclass(frozen=True, eq=False)
class Trace:
    """Trace of a Hessian, with the standard error of the estimate.

    Attributes:
        value: tr H.
        stderr: standard error over probes; 0 where the trace is exact.
        samples: (probes,) the single estimates vᵀHv.
        hvps: Hessian-vector products spent.
        names: the parameters of the block.
    """

    value: float
    stderr: float
    samples: Float[Tensor, " probes"]
    hvps: int
    names: tuple[str, ...] = field(repr=False)


def trace(
    loss: Loss | Hessian,
    *,
    probes: int = 100,
    seed: int = 0,
    params: str | Sequence[str] | None = None,
    dtype: torch.dtype | None = None,
) -> Trace:
    """Hutchinson's estimate tr H = E vᵀHv with random signs v; exact where n ≤ probes.

    Args:
        loss: a loss, or the operator that :func:`hessian` made of it.
        probes: random vectors, at least 2 (100 as in PyHessian).
        seed: of the probes.
        params, dtype: as in :func:`hessian`.

    Returns:
        ``value`` and its ``stderr``, with the single estimates.

    Raises:
        ValueError: as :func:`hessian`; fewer than 2 probes.
    """
    probes = check.integer("probes", probes, at_least=2)
    operator = _operator(loss, params, dtype)
    before, n = operator.products, operator.size
    if n <= probes:
        samples = torch.diagonal(operator.dense()).sum()[None]
        stderr = 0.0
    else:
        generator = torch.Generator().manual_seed(check.integer("seed", seed))
        samples = torch.empty(probes, dtype=torch.float64)
        at_once = 1 if operator.device.type == "cpu" else TOGETHER
        for some in samples.split(at_once):
            drawn = [torch.randint(0, 2, (n,), generator=generator).mul_(2).sub_(1) for _ in some]
            signs = torch.stack(drawn).to(operator.dtype).to(operator.device)
            signs, products = wide(signs), wide(operator.many(signs))
            some.copy_(torch.stack([torch.dot(s, p) for s, p in zip(signs, products, strict=True)]))
        stderr = float(samples.std() / math.sqrt(probes))
    return Trace(float(samples.mean()), stderr, samples, operator.products - before, operator.names)


def by_block(loss: Loss, measure: Callable[..., R], **options: Any) -> dict[str, R]:
    """One measurement per block of parameters: ``by_block(loss, top_eigenvalues, k=1)``.

    The Hessian of a block is the diagonal block of the whole one: one encoder, the fusion, the head.

    Args:
        loss: a loss; its ``blocks`` say which parameters belong together.
        measure: :func:`top_eigenvalues`, :func:`density`, :func:`trace`, or anything with ``params=``.
        options: handed to ``measure``.

    Returns:
        Name of the block -> what ``measure`` returned for it.
    """
    check.function("measure", measure, "of a loss, such as curvature.trace")
    return {block: measure(loss, params=block, **options) for block in as_loss(loss).blocks}


def _operator(loss: Loss | Hessian, params: str | Sequence[str] | None, dtype: torch.dtype | None) -> Hessian:
    if not isinstance(loss, Hessian):
        return Hessian(loss, params, dtype=dtype)
    if params is not None or dtype is not None:
        raise ValueError(
            "a Hessian has its params and dtype already; give them to curvature.hessian(…), or hand over the loss."
        )
    return loss


def eigenvectors(loss: Loss, count: int = 2, *, seed: int = 0, scale: float | None = None) -> list[Params]:
    """The Hessian's top eigenvectors as directions: where the loss is sharpest.

    Args:
        loss: gives θ and the Hessian.
        count: how many.
        seed: of the Lanczos start.
        scale: norm of each direction; ‖θ‖ when not given, so that spans compare with other planes.

    Returns:
        k directions of unit norm, each a dict shaped like the parameters, the sharpest first.
    """
    wanted = None if scale is None else check.positive("scale", scale)
    found = top_eigenvalues(loss, k=count, vectors=True, seed=seed)
    norm = float(norm_of(loss.params)) if wanted is None else wanted
    return [
        {name: check.finite(f"scale {norm:g} times the eigenvector", part * norm) for name, part in vector.items()}
        for vector in found.vectors
    ]
