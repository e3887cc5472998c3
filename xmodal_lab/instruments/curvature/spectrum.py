"""Curvature of a loss: products, leading eigenvalues, spectral density, trace.

Of the Hessian, the generalised Gauss-Newton matrix (``of="ggn"``) or the empirical Fisher (``of="fisher"``), for any
:class:`~xmodal_lab.losses.Loss`, for the whole of θ or one block of it (``params="encoders.image"``). The matrix is
never formed unless it is small. To measure several things at one point, build ``H = hessian(loss)`` (or ``ggn``,
``fisher``) once and hand it over in place of the loss.

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

from ...losses import Direction, Loss, Params, as_loss
from ...losses.directions import norm_of
from ...utils import checks as check
from ...utils.factors import eigh, signs
from ...utils.memory import free_bytes, require
from ...utils.shapes import Float
from ...utils.torch_state import full_precision, wide
from .gauss_newton import GGN, EmpiricalFisher
from .lanczos import Array, Krylov, advance_together, leading
from .operator import TOGETHER, Hessian, Operator
from .spectral_axis import lambdas, on_lambdas

if TYPE_CHECKING:
    import xarray as xr

R = TypeVar("R")

# Up to this size the matrix is formed and solved exactly: as many products as a Lanczos run needs (ours).
DENSE = 128

# What can be looked at of a loss, by the word of ``of=``.
MATRICES: dict[str, type[Operator]] = {"hessian": Hessian, "ggn": GGN, "fisher": EmpiricalFisher}

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
    block_diagonal: bool = False,
) -> Hessian:
    """The Hessian ∇²L(θ), or the diagonal block of some parameters, as a linear operator.

    Args:
        loss: any loss; it must be twice differentiable and deterministic.
        params: a block of ``loss.blocks``, a modality (its encoder), a parameter name, several of these; None for all.
        rows: samples per chunk of a loss over data; chosen to fit the cache when not given.
        dtype: of the products; the loss's own when not given, at least float32, which is enough for eigenvalues
            (1e-7 of the largest against dense float64, FIELD_NOTES).
        block_diagonal: take entries between two blocks of ``loss.blocks`` as 0: Hv is then Σ over blocks b of
            ∇_b(∇_b L · v_b), from one graph.

    Returns:
        :class:`Hessian` with ``.matvec``, ``.dense()``, ``.as_dict``, ``.as_vector``, ``.size``.

    Raises:
        ValueError: a name that does not exist, a loss that is NaN, infinite or stochastic at θ.
        TypeError: ``loss`` is not a Loss.
    """
    return Hessian(loss, params, rows, dtype, block_diagonal)


def ggn(
    loss: Loss,
    params: str | Sequence[str] | None = None,
    *,
    rows: int | None = None,
    dtype: torch.dtype | None = None,
    block_diagonal: bool = False,
) -> GGN:
    """The generalised Gauss-Newton matrix G = Jᵀ (∇²_z ℓ) J of a net z(θ) with Jacobian J (Schraudolph 2002).

    The Hessian is G + Σₖ (∂ℓ/∂zₖ) ∇²zₖ; G leaves the curvature of the net out. It is positive semi-definite where the
    criterion ℓ is convex in z; for cross-entropy and squared error it is the Fisher information (Martens 2020).

    Args:
        loss: of a module, with outputs and a criterion (``xl.loss_on``, ``xl.Loss.from_module``).
        params, rows, dtype, block_diagonal: as in :func:`hessian`.

    Returns:
        :class:`GGN`, with what :class:`Hessian` has.

    Raises:
        ValueError: as :func:`hessian`; a loss that is a function of θ alone, or is computed inside the module.
        TypeError: ``loss`` is not a Loss.

    Example:
        >>> import torch
        >>> import xmodal_lab as xl
        >>> net, batch = torch.nn.Linear(2, 1, bias=False), (torch.eye(2), torch.zeros(2, 1))
        >>> loss = xl.Loss.from_module(net, batch, torch.nn.functional.mse_loss)
        >>> xl.curvature.ggn(loss).dense()  # 2 XᵀX / N
        tensor([[1., 0.],
                [0., 1.]], dtype=torch.float64)
    """
    return GGN(loss, params, rows, dtype, block_diagonal)


def fisher(
    loss: Loss,
    params: str | Sequence[str] | None = None,
    *,
    rows: int | None = None,
    dtype: torch.dtype | None = None,
    block_diagonal: bool = False,
) -> EmpiricalFisher:
    """The empirical Fisher F = (1/N) Σₙ gₙ gₙᵀ, gₙ = ∇ℓₙ(θ): the uncentred second moment of the rows' gradients.

    Args:
        loss: of a module whose rows know nothing of each other, with a criterion that is a mean over them.
        params, rows, dtype, block_diagonal: as in :func:`hessian`.

    Returns:
        :class:`EmpiricalFisher`, with what :class:`Hessian` has.

    Raises:
        ValueError: as :func:`ggn`; a loss that is no mean over rows, outputs without one entry for each row.
        TypeError: ``loss`` is not a Loss.

    Example:
        >>> import torch
        >>> import xmodal_lab as xl
        >>> net, batch = torch.nn.Linear(1, 1, bias=False), (torch.ones(2, 1), torch.zeros(2, 1))
        >>> torch.nn.init.ones_(net.weight).shape
        torch.Size([1, 1])
        >>> xl.curvature.fisher(xl.Loss.from_module(net, batch, torch.nn.functional.mse_loss)).dense()  # each g is 2
        tensor([[4.]], dtype=torch.float64)
    """
    return EmpiricalFisher(loss, params, rows, dtype, block_diagonal)


# -- eigenvalues -------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Eigenvalues:
    """Leading eigenvalues of a Hessian or its like.

    Attributes:
        values: (k,) float64, signed; the order says ``which``.
        vectors: k unit-norm dicts shaped like the parameters, if asked for; else empty.
        errors: (k,) bounds of the distance to an eigenvalue: the residual, or residual²/gap where that is smaller.
        residuals: (k,) norms ‖Hv - λv‖.
        converged: whether every error is within the tolerance.
        hvps: matrix-vector products spent.
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
    loss: Loss | Operator,
    k: int = 5,
    which: str = "largest",
    *,
    tol: float = 1e-4,
    max_iterations: int = 300,
    seed: int = 0,
    params: str | Sequence[str] | None = None,
    vectors: bool = False,
    dtype: torch.dtype | None = None,
    of: str | None = None,
    start: Sequence[Direction] = (),
) -> Eigenvalues:
    """The k leading eigenvalues of the Hessian, or of the matrix ``of`` names: λ₁ ≥ λ₂ ≥ …, signed.

    Lanczos with full double reorthogonalisation. It stops when residual²/gap says that an
    eigenvalue lies within ``tol`` of each value, then looks again from a new start for repeated
    eigenvalues. (Where the k-th lies in a dense bulk, the eigenvalue so near may be the next one.)
    Where the matrix is small, or k near its size, it is formed and solved.
    Unlike power iteration, which returns the largest absolute value, this is right for an indefinite Hessian.

    Args:
        loss: a loss, or the operator that :func:`hessian`, :func:`ggn` or :func:`fisher` made of it.
        k: how many.
        which: "largest", "smallest" (most negative first) or "magnitude".
        tol: relative error of each value (1e-4: ours; PyHessian's 1e-3 compares successive steps instead).
        max_iterations: most Hessian-vector products (ours).
        seed: of the start vectors.
        params, dtype: as in :func:`hessian`.
        vectors: return the eigenvectors too.
        of: "hessian" (when not given), "ggn" or "fisher"; see :func:`ggn`, :func:`fisher`.
        start: directions near the eigenvectors, such as ``.vectors`` found at a neighbouring θ: the first look begins
            with their sum, which saves products where they are near. What is found, and its bounds, hold all the same.

    Returns:
        ``values`` (k,), with error bounds, whether they converged, and how many products were spent.

    Raises:
        ValueError: k below 1 or above the dimension; a basis of k + 8 vectors that does not fit into memory, with the
            number; as :func:`hessian`.

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
    operator = _operator(loss, params, dtype, of)
    n = operator.size
    if k > n:
        raise ValueError(f"k = {k} eigenvalues were asked of {operator.called} of dimension {n}; ask for at most {n}.")
    before, near = operator.products, _sum_of(operator, start)
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
            near,
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


def _sum_of(operator: Operator, directions: Sequence[Direction]) -> Tensor | None:
    """The sum of some directions as a vector; None of none."""
    given = [check.mapping(f"start[{i}]", d, "tensors") for i, d in enumerate(check.listed("start", directions))]
    return torch.stack([operator.as_vector(d) for d in given]).sum(0) if given else None


# -- density and trace -------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Density:
    """Spectral density of a Hessian or its like: Gauss quadrature nodes and weights, one row per probe.

    The products are spent; another grid or bandwidth costs nothing (:meth:`smoothed`).

    Attributes:
        nodes: (probes, steps) Ritz values.
        weights: (probes, steps), each row sums to 1.
        size: n, number of eigenvalues.
        exact: whether the nodes are all the eigenvalues.
        sigma: standard deviation of the Gaussian that ``density`` is smoothed with.
        hvps: matrix-vector products spent.
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

        told = {
            "source": "xmodal_lab density", "long_name": "spectral density", "units": "per unit of asinh(λ / 0.1)",
            "trace": self.trace, "size": self.size, "hvps": self.hvps,
        }  # fmt: skip
        axis = ("lambda_", lambdas(), {"long_name": "eigenvalue λ"})
        return xr.DataArray(on_lambdas(self.nodes, self.weights), {"lambda_": axis}, ("lambda_",), "density", told)


def density(
    loss: Loss | Operator,
    *,
    steps: int = 50,
    probes: int = 4,
    bandwidth: float = 0.01,
    seed: int = 0,
    params: str | Sequence[str] | None = None,
    dtype: torch.dtype | None = None,
    of: str | None = None,
) -> Density:
    """Spectral density by stochastic Lanczos quadrature: p(λ) = (1/n) Σ δ(λ - λᵢ), smoothed.

    Each probe is a random vector v; the Lanczos matrix T of v gives Gauss quadrature nodes θ
    (its eigenvalues) and weights (squared first entries of its eigenvectors) for vᵀ f(H) v,
    exact for polynomials f of degree 2·steps - 1 (Ghorbani et al. 2019; Ubaru et al. 2017).
    Where n ≤ steps the nodes are the eigenvalues.

    Args:
        loss: a loss, or the operator that :func:`hessian`, :func:`ggn` or :func:`fisher` made of it.
        steps, probes: Lanczos steps per probe and probes (ours; cost: their product in HVPs).
        bandwidth: σ of the smoothing as a share of the spectrum's width (ours).
        seed: of the probes.
        params, dtype: as in :func:`hessian`.
        of: "hessian" (when not given), "ggn" or "fisher".

    Returns:
        Nodes and weights of each probe; ``grid`` and ``density`` show them smoothed.

    Raises:
        ValueError: as :func:`hessian`; steps, probes or bandwidth not positive.
    """
    steps, probes = check.integer("steps", steps, at_least=1), check.integer("probes", probes, at_least=1)
    bandwidth = check.positive("bandwidth", bandwidth)
    operator = _operator(loss, params, dtype, of)
    before, n = operator.products, operator.size
    if n <= steps:
        nodes = torch.linalg.eigvalsh(operator.dense())[None]
        weights = torch.full_like(nodes, 1 / n)
    else:
        needed = (steps + 5) * n * operator.dtype.itemsize
        require(f"a density of {steps} steps among {n} parameters", needed, "take fewer steps", operator.device)
        generator = torch.Generator().manual_seed(check.integer("seed", seed))
        nodes, weights = _quadrature(operator, steps, probes, generator)
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


def _quadrature(
    operator: Operator, steps: int, probes: int, generator: torch.Generator
) -> tuple[Float[Tensor, "probes steps"], Float[Tensor, "probes steps"]]:
    """Nodes and weights of each probe; on a GPU the products of several probes go back through the graph together."""
    n, at_once = operator.size, 1
    if operator.device.type != "cpu":
        left, basis = free_bytes(operator.device), (steps + 1) * operator.size * operator.dtype.itemsize
        at_once = min(TOGETHER, probes if left is None else max(1, left // 2 // basis))
    nodes, weights = (torch.zeros(probes, steps, dtype=torch.float64) for _ in range(2))
    for first in range(0, probes, at_once):
        starts = [
            torch.randn(n, generator=generator, dtype=operator.dtype).to(operator.device)
            for _ in range(min(at_once, probes - first))
        ]
        runs = [
            Krylov(operator.matvec, start, start.new_empty(0, n), steps, unlooked=operator.product) for start in starts
        ]
        while going := [run for run in runs if run.steps < steps and not (run.steps and run.complete)]:
            if len(going) == 1:
                going[0].advance(steps - going[0].steps)
            else:
                advance_together(going, operator.products_of, steps - going[0].steps)
        for i, run in enumerate(runs, first):
            theta, coordinates, _ = run.ritz()
            nodes[i] = float(theta[0])  # where the run ended early, the rest repeats with weight 0
            nodes[i, : len(theta)] = torch.as_tensor(theta)
            weights[i, : len(theta)] = torch.as_tensor(coordinates[0] ** 2)
    return nodes, weights


@dataclass(frozen=True, eq=False)
class Trace:
    """Trace of a Hessian or its like, with the standard error of the estimate.

    Attributes:
        value: tr H.
        stderr: standard error over probes; 0 where the trace is exact.
        samples: (probes,) single estimates, whose mean is ``value``.
        hvps: matrix-vector products spent.
        names: the parameters of the block.
    """

    value: float
    stderr: float
    samples: Float[Tensor, " probes"]
    hvps: int
    names: tuple[str, ...] = field(repr=False)


def trace(
    loss: Loss | Operator,
    *,
    probes: int = 100,
    seed: int = 0,
    params: str | Sequence[str] | None = None,
    dtype: torch.dtype | None = None,
    of: str | None = None,
    method: str = "hutchinson",
) -> Trace:
    """The trace from products with random signs; exact where n ≤ probes.

    "hutchinson": tr H = E vᵀHv, with a standard error that falls as probes^-½. "hutch++" (Meyer et al. 2021) spends a
    third of the products on the range Q of H S, takes tr QᵀHQ exactly and estimates (I - QQᵀ)H(I - QQᵀ) alone:
    far better where few eigenvalues make the trace, as in trained nets, and unbiased for any symmetric H.

    Args:
        loss: a loss, or the operator that :func:`hessian`, :func:`ggn` or :func:`fisher` made of it.
        probes: random vectors, at least 2 (100 as in PyHessian); for "hutch++" products, at least 6.
        seed: of the probes.
        params, dtype: as in :func:`hessian`.
        of: "hessian" (when not given), "ggn" or "fisher".
        method: "hutchinson" or "hutch++"; the latter holds probes / 3 vectors.

    Returns:
        ``value`` and its ``stderr``, with the single estimates.

    Raises:
        ValueError: as :func:`hessian`; too few probes, vectors that do not fit into memory.
    """
    check.one_of("method", method, ("hutchinson", "hutch++"))
    probes = check.integer("probes", probes, at_least=2 if method == "hutchinson" else 6)
    operator = _operator(loss, params, dtype, of)
    before, n = operator.products, operator.size
    if n <= probes:
        samples = torch.diagonal(operator.dense()).sum()[None]
        stderr = 0.0
    else:
        generator = torch.Generator().manual_seed(check.integer("seed", seed))
        samples = _hutchinson(operator, probes, generator) if method == "hutchinson" else _hutchpp(
            operator, probes, generator
        )  # fmt: skip
        stderr = float(samples.std() / math.sqrt(len(samples)))
    return Trace(float(samples.mean()), stderr, samples, operator.products - before, operator.names)


def _signs(operator: Operator, count: int, generator: torch.Generator) -> Tensor:
    """(count, n) random signs."""
    drawn = [torch.randint(0, 2, (operator.size,), generator=generator).mul_(2).sub_(1) for _ in range(count)]
    return torch.stack(drawn).to(operator.dtype).to(operator.device)


def _quadratic(operator: Operator, vectors: Tensor) -> Tensor:
    """vᵀAv of each row of ``vectors``, on the CPU."""
    vectors, products = wide(vectors), wide(operator.many(vectors))
    return torch.stack([torch.dot(v, p) for v, p in zip(vectors, products, strict=True)]).cpu().double()


def _hutchinson(operator: Operator, probes: int, generator: torch.Generator) -> Tensor:
    at_once = 1 if operator.device.type == "cpu" else TOGETHER
    counts = [len(part) for part in torch.arange(probes).split(at_once)]
    return torch.cat([_quadratic(operator, _signs(operator, count, generator)) for count in counts])


@full_precision()
def _hutchpp(operator: Operator, products: int, generator: torch.Generator) -> Tensor:
    """One estimate for each probe of what is left beside the range of A S, whose part is exact."""
    rank = min(products // 3, operator.size)
    needed = 3 * rank * operator.size * operator.dtype.itemsize
    require(
        f"hutch++ with {rank} vectors of {operator.size}", needed, "take fewer probes, or hutchinson", operator.device
    )
    at_once = 1 if operator.device.type == "cpu" else TOGETHER
    sketch = torch.cat([operator.many(part) for part in _signs(operator, rank, generator).split(at_once)])
    basis = torch.linalg.qr(sketch.T)[0].T  # (rank, n)
    exact = torch.cat([_quadratic(operator, part) for part in basis.split(at_once)]).sum()
    found = []
    for count in [len(part) for part in torch.arange(products - 2 * rank).split(at_once)]:
        drawn = _signs(operator, count, generator)
        for _ in range(2):  # clear of the basis to rounding
            drawn = drawn - (drawn @ basis.T) @ basis
        found.append(exact + _quadratic(operator, drawn))
    return torch.cat(found)


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


def _operator(
    loss: Loss | Operator, params: str | Sequence[str] | None, dtype: torch.dtype | None, of: str | None
) -> Operator:
    if not isinstance(loss, Operator):
        return MATRICES[check.one_of("matrix (of=)", "hessian" if of is None else of, MATRICES)](
            loss, params, dtype=dtype
        )
    if params is not None or dtype is not None or of is not None:
        raise ValueError(
            f"{loss.called} has its params and dtype already, and is what it is; give them to curvature.hessian(…), "
            "ggn(…) or fisher(…), or hand over the loss."
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
