"""Theorems 1 and 2 as experiments: the convolution, the supremum, the Fourier picture, and the law of the pairs.

All of it is about the loss as a function of the fused feature f. Nothing here speaks of the
Hessian in θ at a minimum, which is what Tab 4 measures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ....data.samples import Samples
from ....instruments.metrics import mmd
from ....models.fusion import LateFusion
from ....utils import checks as check
from .invariance import jacobian

KERNELS = ("gaussian", "uniform", "laplace", "two-point")


# -- Theorem 1 ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Convolution:
    """How far the multimodal loss is from the unimodal one convolved with the kernel of shifts.

    Attributes:
        multimodal: E ℓ(φ(f_i, f_j), y) over all pairs of a class (Eq 2 under Assumption 2).
        convolved: E (ℓ(·, y) ⊗ K)(φ(f_i, f_j(x̄_j))), one kernel per class (Eq 5).
        unimodal: E ℓ(φ(f_i, f_j(x̄_j)), y) (Eq 1).
        error: largest |multimodal - convolved| of a row x_i.
        scaled_error: the same where the shift is α ⊙ τ, as Eq 3 defines it.
    """

    multimodal: float
    convolved: float
    unimodal: float
    error: float
    scaled_error: float

    @property
    def relative(self) -> float:
        """Error / multimodal."""
        return self.error / self.multimodal


@torch.no_grad()
def convolution(net: LateFusion, samples: Samples, partners: int = 32) -> Convolution:
    """Both sides of Theorem 1 on a net of two modalities, every x_i with the same ``partners`` x_j of its class.

    The kernel of a class is the law of τ(x_j) = φ(u, f_j(x_j)) - φ(u, f_j(x̄_j)) at one reference u = f_i(x_i), the
    first row of the class; where φ shifts every u alike (additive, or a linear layer) the choice is none.

    Args:
        net: any late fusion of two modalities; float64 shows round-off.
        samples: rows with both modalities; classes with one row are left out.
        partners: x_j per class.

    Raises:
        ValueError: not two modalities; no class with two rows.
    """
    if len(net.modalities) != 2:
        raise ValueError(f"Theorem 1 needs a net of two modalities, got {', '.join(net.modalities)}.")
    first, second = net.modalities
    seen = samples.complete(net.modalities)
    features = net.encode(seen.inputs)
    absent = net.encode({first: seen.inputs[first][:1]})[second]
    alpha = jacobian(net.fusion, features[first], features[second]).diagonal(dim1=1, dim2=2).mean(0)
    multi, convolved, scaled, alone = [], [], [], []
    for c in seen.labels.unique():
        rows = (seen.labels == c).nonzero()[:, 0]
        if len(rows) < 2:
            continue
        u, v = features[first][rows], features[second][rows][:partners]
        base = net.fusion([u, absent.expand_as(u)])
        kernel = net.fusion([u[:1].expand_as(v), v]) - net.fusion([u[:1], absent])

        def over(f: Tensor, c: Tensor = c) -> Tensor:
            """Mean loss of each row over its partners: f (n, k, d) -> (n,)."""
            logits = net.head(f)
            return torch.nn.functional.cross_entropy(
                logits.flatten(0, 1), c.expand(f.shape[0] * f.shape[1]), reduction="none"
            ).view(f.shape[:2]).mean(1)  # fmt: skip

        pairs = [x.flatten(0, 1) for x in torch.broadcast_tensors(u[:, None], v[None])]
        multi.append(over(net.fusion(pairs).view(len(u), len(v), -1)))
        convolved.append(over(base[:, None] + kernel[None]))
        scaled.append(over(base[:, None] + alpha * kernel[None]))
        alone.append(over(base[:, None]))
    if not multi:
        raise ValueError("no class has two rows, so there is nothing to average over.")
    both, conv, off, uni = (torch.cat(x) for x in (multi, convolved, scaled, alone))
    return Convolution(
        multimodal=float(both.mean()),
        convolved=float(conv.mean()),
        unimodal=float(uni.mean()),
        error=float((both - conv).abs().max()),
        scaled_error=float((both - off).abs().max()),
    )


# -- Theorem 2 ---------------------------------------------------------------------------------------


def logistic_curvature(f: Tensor, shifts: Tensor | None = None) -> Tensor:
    """ℓ''(f) of ℓ = log(1 + e^f), convolved with equally likely ``shifts`` (k,) where given; at most 1/4.

    The supremum of the convolved curvature is no larger (Thm 2.1), at a single f it may be: at
    f = -6 the plain one is 0.0025, that of τ = ±4 is 0.053.
    """
    x = f if shifts is None else f[..., None] + shifts
    s = torch.sigmoid(x)
    value = s * (1 - s)
    return value if shifts is None else value.mean(-1)


def softmax_curvature(f: Tensor, shifts: Tensor | None = None) -> Tensor:
    """‖∇²ℓ(f)‖₂ of cross-entropy in logits f (n, C), diag(p) - ppᵀ, convolved with ``shifts`` (k, C); at most 1/2."""
    x = f[:, None] if shifts is None else f[:, None] + shifts
    p = x.softmax(-1)
    hessian = (torch.diag_embed(p) - p[..., :, None] * p[..., None, :]).mean(1)
    return torch.linalg.eigvalsh(hessian)[:, -1]


def characteristic(shifts: Tensor, frequencies: Tensor) -> Tensor:
    """|K̂(ω)| = |E e^{-iωτ}| of equally likely shifts (k,), at frequencies (n,) (Thm 2.2)."""
    phase = frequencies[:, None] * shifts
    return torch.complex(phase.cos().mean(1), -phase.sin().mean(1)).abs()


def damping(kernel: str, frequencies: Tensor, sd: float = 1.0) -> Tensor:
    """|K̂(ω)| of a shift of standard deviation ``sd`` and mean 0, in closed form.

    All have finite variance, which is what Thm 2.2 asks for. Those with a density tend to 0
    (Riemann-Lebesgue); the two-point shift ±sd gives |cos(sd ω)|, which does not.

    Args:
        kernel: "gaussian" | "uniform" | "laplace" | "two-point".
        frequencies: (n,) ω.
        sd: standard deviation.

    Raises:
        ValueError: an unknown kernel, sd not above 0.
    """
    check.one_of("kernel", kernel, KERNELS)
    w = check.positive("sd", sd) * frequencies
    formulas: dict[str, Callable[[Tensor], Tensor]] = {
        "gaussian": lambda w: torch.exp(-0.5 * w**2),
        "uniform": lambda w: torch.sinc(3**0.5 * w / torch.pi).abs(),
        "laplace": lambda w: 1 / (1 + 0.5 * w**2),
        "two-point": lambda w: w.cos().abs(),
    }
    return formulas[kernel](w)


def fourier_error(loss: Tensor, kernel: Tensor) -> float:
    """Largest |F[ℓ ⊗ K] - F[ℓ] · F[K]| on a periodic grid, relative to F[ℓ]; the left side convolved term by term.

    Args:
        loss: (n,) values on the grid.
        kernel: (n,) weights, sum 1; entry k is the chance of a shift by k cells.
    """
    n = len(loss)
    rows = (torch.arange(n)[:, None] + torch.arange(n)) % n
    convolved = loss[rows] @ kernel  # Σ_τ ℓ(f + τ) K(τ): a correlation, hence the conjugate below
    spectrum = torch.fft.fft(loss)
    return float(
        (torch.fft.fft(convolved) - spectrum * torch.fft.fft(kernel).conj()).abs().max() / spectrum.abs().max()
    )


# -- the law of the pairs ----------------------------------------------------------------------------


def one_law(
    samples: Samples, first: str, second: str, *, rows: int = 400, permutations: int = 200, seed: int = 0
) -> float:
    """p-value of the hypothesis that SML's and DML's pairs follow one law, by MMD between (x_i, x_j) of both.

    Where x_i ⊥ x_j | y (Assumption 2) they do: then DML differs from SML only in how often each pair
    is seen. Both samples are disjoint halves of the rows, so that they are independent.

    Args:
        samples: rows with both modalities, labelled.
        first, second: the modalities; the second is drawn anew by class.
        rows: most rows of each half.
        permutations: of the test; the p-value is at least 1/(permutations + 1).
        seed: of halves, pairs and permutations.

    Raises:
        ValueError: an unknown modality, fewer than four rows.
    """
    seen = samples.complete((first, second))
    if len(seen) < 4:
        raise ValueError(f"the test needs at least four rows with both modalities, got {len(seen)}.")
    generator = torch.Generator().manual_seed(check.integer("seed", seed, at_least=0))
    order = torch.randperm(len(seen), generator=generator)
    half = min(rows, len(seen) // 2)
    one, other = seen.subset(order[:half]), seen.subset(order[half : 2 * half])
    drawn = dict(other.inputs)  # each x_j once, so that repeated ones do not pass for another law
    for c in other.labels.unique():
        at = (other.labels == c).nonzero()[:, 0]
        partner = at[torch.randperm(len(at), generator=generator)]
        drawn[second] = drawn[second].index_copy(0, at, other.inputs[second][partner])

    def joint(inputs: dict[str, Tensor], labels: Tensor) -> Tensor:
        parts = []
        for m in (first, second):  # each view at one scale: its share of the distance is the same
            x = inputs[m].flatten(1)
            parts.append(x / seen.inputs[m].flatten(1).var(0).sum().sqrt())
        hot = torch.nn.functional.one_hot(labels, int(seen.labels.max()) + 1)
        return torch.cat([*parts, hot.to(parts[0])], 1)

    clouds = joint(dict(one.inputs), one.labels), joint(drawn, other.labels)
    # What three things say only together shows at a shorter range than the median distance (a third: ours).
    test = mmd(*clouds, bandwidth=mmd(*clouds).bandwidth / 3, permutations=permutations, seed=seed)
    return float(test.p_value or 0.0)
