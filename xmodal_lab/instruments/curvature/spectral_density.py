"""The density of a curvature's spectrum, by stochastic Lanczos quadrature."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...losses import Loss
from ...utils import checks as check
from ...utils.memory import free_bytes, require
from ...utils.shapes import Float
from .lanczos import Krylov, advance_together
from .matrices import operator_of
from .operator import TOGETHER, Operator
from .spectral_axis import lambdas, on_lambdas

if TYPE_CHECKING:
    import xarray as xr


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
    operator = operator_of(loss, params, dtype, of)
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
