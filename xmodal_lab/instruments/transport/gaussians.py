"""z_k = (1 - α) z_i + α z_j on Gaussians, where every distance has a closed form (synergy Def 3, Eq 12).

How z_i meets z_j decides what P_k is. Three couplings, against the quadratic f(α) of Eq 13:

    generalised   both are transport maps of one z* (base P*): Δ_k² ≤ f, which is what Eq 12 says
    true          z_j = T(z_i), the optimal coupling, a W2 geodesic: Δ_k² ≥ f, the other way round, since Wasserstein
                  space has non-negative curvature (Ambrosio, Gigli and Savaré 2008, Sec 7.3)
    random        z_i and z_j are independent: neither
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ...utils import checks as check
from .triangle import alpha_star

COUPLINGS = ("true", "generalised", "random")


@dataclass(frozen=True, eq=False)
class Gaussian:
    """N(mean, covariance), in float64.

    Attributes:
        mean: (d,).
        covariance: (d, d), symmetric and positive definite.

    Raises:
        ValueError: shapes that do not fit, NaN or Inf, a covariance that is not positive definite.
    """

    mean: Tensor
    covariance: Tensor

    def __post_init__(self) -> None:
        mean = check.finite("mean", check.as_tensor("mean", self.mean, torch.float64))
        covariance = check.finite("covariance", check.as_tensor("covariance", self.covariance, torch.float64))
        if mean.dim() != 1 or covariance.shape != (len(mean), len(mean)):
            raise ValueError(
                f"expected a mean (d,) and a covariance (d, d), got {tuple(mean.shape)}, {tuple(covariance.shape)}."
            )
        if not torch.equal(covariance, covariance.T) and float((covariance - covariance.T).abs().max()) > 1e-9:
            raise ValueError("a covariance must be symmetric; take (C + Cᵀ) / 2.")
        if float(torch.linalg.eigvalsh(covariance).min()) <= 0:
            raise ValueError(
                "a covariance must be positive definite, or there is no transport map; add ε to its diagonal."
            )
        object.__setattr__(self, "mean", mean)
        object.__setattr__(self, "covariance", (covariance + covariance.T) / 2)


@dataclass(frozen=True, eq=False)
class Triple:
    """P*, P_i and P_j, and what their distances say.

    Attributes:
        star, i, j: the three Gaussians.
    """

    star: Gaussian
    i: Gaussian
    j: Gaussian

    @property
    def sides(self) -> tuple[float, float, float]:
        """Δ_i², Δ_j², Δ_ij² (Def 2, squared)."""
        return squared(self.star, self.i), squared(self.star, self.j), squared(self.i, self.j)

    @property
    def alpha_star(self) -> float:
        """α* of Eq 4, raw: it may lie outside [0, 1]."""
        return float(alpha_star(*(math.sqrt(max(side, 0.0)) for side in self.sides)).raw)

    def quadratic(self, alpha: Tensor) -> Tensor:
        """f(α) of Eq 13."""
        d_i, d_j, d_ij = self.sides
        return (1 - alpha) * d_i + alpha * d_j - alpha * (1 - alpha) * d_ij

    def interpolated(self, alpha: float, coupling: str) -> Gaussian:
        """P_k, the law of z_k.

        Args:
            alpha: weight on j.
            coupling: one of :data:`COUPLINGS`.

        Raises:
            ValueError: another coupling.
        """
        means, covariances = self._interpolated(torch.tensor([alpha], dtype=torch.float64), coupling)
        return Gaussian(means[0], covariances[0])

    def _interpolated(self, alpha: Tensor, coupling: str) -> tuple[Tensor, Tensor]:
        """Means (n, d) and covariances (n, d, d) of P_k at each α (n,)."""
        check.one_of("coupling", coupling, COUPLINGS)
        to_j = alpha.double()[:, None]
        mean = (1 - to_j) * self.i.mean + to_j * self.j.mean
        to_j = to_j[..., None]
        if coupling == "random":
            return mean, (1 - to_j) ** 2 * self.i.covariance + to_j**2 * self.j.covariance
        base, first, second = self._maps(coupling)
        maps = (1 - to_j) * first + to_j * second
        return mean, _symmetric(maps @ base.covariance @ maps.mT)

    def _maps(self, coupling: str) -> tuple[Gaussian, Tensor, Tensor]:
        """The Gaussian whose points both couplings move, and the matrices that take them to P_i and to P_j."""
        if coupling == "true":
            eye = torch.eye(len(self.i.mean), dtype=torch.float64)
            return self.i, eye, transport_map(self.i, self.j)
        return self.star, transport_map(self.star, self.i), transport_map(self.star, self.j)

    def delta_k(self, alpha: Tensor, coupling: str) -> Tensor:
        """Δ_k² = W2²(P*, P_k) at each α, (n,)."""
        return _squared(self.star, *self._interpolated(alpha, coupling))


def squared(a: Gaussian, b: Gaussian) -> float:
    """W2² = ‖μ_a - μ_b‖² + Tr(A + B - 2 (A^½ B A^½)^½) (Bures)."""
    return float(_squared(a, b.mean[None], b.covariance[None])[0])


def _squared(a: Gaussian, means: Tensor, covariances: Tensor) -> Tensor:
    """W2² of ``a`` and n others, (n,)."""
    root = _root(a.covariance)
    cross = torch.linalg.eigvalsh(_symmetric(root @ covariances @ root)).clamp_min(0).sqrt().sum(-1)
    traces = covariances.diagonal(dim1=-2, dim2=-1).sum(-1)
    return (a.mean - means).square().sum(-1) + a.covariance.trace() + traces - 2 * cross


def transport_map(a: Gaussian, b: Gaussian) -> Tensor:
    """The matrix A^-½ (A^½ B A^½)^½ A^-½ of the optimal map from N(0, A) to N(0, B)."""
    values, axes = torch.linalg.eigh(a.covariance)
    root, inverse = (axes * values.sqrt()) @ axes.T, (axes / values.sqrt()) @ axes.T
    return _symmetric(inverse @ _root(_symmetric(root @ b.covariance @ root)) @ inverse)


def example(theta: float, gap: float = 0.3, long: float = 2.0, short: float = 0.05) -> Triple:
    """Three cigars in the plane, a case in which Theorem 1's conclusion fails on the true geodesic (ours).

    P* stands upright at (0, 1); P_i lies at (-gap, 0) turned by +θ, P_j at (gap, 0) turned by -θ.

    Args:
        theta: degrees from the horizontal.
        gap: half the distance between the means of P_i and P_j.
        long, short: variances along and across each cigar.
    """

    def cigar(x: float, y: float, degrees: float) -> Gaussian:
        angle = math.radians(degrees)
        along = torch.tensor([math.cos(angle), math.sin(angle)], dtype=torch.float64)
        covariance = short * torch.eye(2, dtype=torch.float64) + (long - short) * torch.outer(along, along)
        return Gaussian(torch.tensor([x, y], dtype=torch.float64), covariance)

    check.positive("gap", gap)
    return Triple(cigar(0, 1, 90), cigar(-gap, 0, check.real("theta", theta)), cigar(gap, 0, -theta))


def drawn(dimensions: int, generator: torch.Generator) -> Triple:
    """A random triple: means N(0, I), random axes, log-uniform eigenvalues in (e^-2, e^1.5) (ours)."""

    def one() -> Gaussian:
        mean = torch.randn(dimensions, generator=generator, dtype=torch.float64)
        values = (3.5 * torch.rand(dimensions, generator=generator, dtype=torch.float64) - 2).exp()
        axes, _ = torch.linalg.qr(torch.randn(dimensions, dimensions, generator=generator, dtype=torch.float64))
        return Gaussian(mean, _symmetric((axes * values) @ axes.T))

    return Triple(one(), one(), one())


def _root(matrix: Tensor) -> Tensor:
    values, axes = torch.linalg.eigh(matrix)
    return (axes * values.clamp_min(0).sqrt()) @ axes.T


def _symmetric(matrix: Tensor) -> Tensor:
    return (matrix + matrix.mT) / 2
