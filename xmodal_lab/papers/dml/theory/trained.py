"""Theorem 2 on a net's own head, features and kernel, in place of textbook losses and kernels (ours)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ....data.samples import Samples
from ....instruments.curvature import feature_hessian
from ....models.fusion import LateFusion
from ....utils.factors import svd
from .smoothing import characteristic

FREQUENCIES = (0.5, 1.0, 2.0, 4.0, 8.0)  # in units of 1/sd of the shift (ours)


@dataclass(frozen=True)
class Curvature:
    """‖∇²_f ℓ(f | y)‖₂ of a net's own loss, before and after the convolution with its own kernel of shifts.

    Attributes:
        supremum: of the plain norm over the features and all their shifts, which is where the convolution looks.
        convolved: the supremum of the convolved norm over the features.
        mean, convolved_mean: over the features.
        rises: the share of features at which the convolved norm is the larger one.
        damping: |K̂(ω)| along the shift's first principal direction, mean of the classes, at ``FREQUENCIES``.
        share: the shift's largest share of variance along one direction; what a 1-D picture can show.
    """

    supremum: float
    convolved: float
    mean: float
    convolved_mean: float
    rises: float
    damping: tuple[float, ...]
    share: float


@torch.no_grad()
def curvature(net: LateFusion, samples: Samples, rows: int = 20, partners: int = 16) -> Curvature:
    """Both sides of Eq 6 at a net's own features φ(f_i(x_i), f_j(x̄_j)), with the shifts τ(x_j) of each class.

    Args:
        net: late fusion of two modalities whose shift does not depend on x_i (additive, or concat and linear).
        samples: rows with both modalities.
        rows, partners: features and shifts per class, at most.

    Raises:
        ValueError: not two modalities; no class with two rows.
    """
    if len(net.modalities) != 2:
        raise ValueError(f"Theorem 2 needs a net of two modalities, got {', '.join(net.modalities)}.")
    first, second = net.modalities
    seen = samples.complete(net.modalities)
    features = net.encode(seen.inputs)
    absent = net.encode({first: seen.inputs[first][:1]})[second]
    plain, convolved, tops, damped, shares = [], [], [], [], []
    for c in seen.labels.unique():
        at = (seen.labels == c).nonzero()[:, 0]
        if len(at) < 2:
            continue
        u, v = features[first][at], features[second][at][:partners]
        f = net.fusion([u[:rows], absent.expand(len(u[:rows]), -1)]).double()
        shifts = (net.fusion([u[:1].expand(len(v), -1), v]) - net.fusion([u[:1], absent])).double()
        plain.append(_norms(net, f, shifts[:0], c))
        convolved.append(_norms(net, f, shifts, c))
        tops.append(_norms(net, (f[:, None] + shifts).flatten(0, 1), shifts[:0], c).max())
        damped_one, share = _damping(shifts)
        damped.append(damped_one)
        shares.append(share)
    if not plain:
        raise ValueError("no class has two rows, so there is no shift to convolve with.")
    before, after = torch.cat(plain), torch.cat(convolved)
    return Curvature(
        supremum=max(float(torch.stack(tops).max()), float(before.max())), convolved=float(after.max()),
        mean=float(before.mean()), convolved_mean=float(after.mean()),
        rises=float((after > before).double().mean()),
        damping=tuple(torch.stack(damped).mean(0).tolist()), share=sum(shares) / len(shares),
    )  # fmt: skip


def _norms(net: LateFusion, features: Tensor, shifts: Tensor, label: Tensor) -> Tensor:
    """(n,) spectral norms of the Hessian in f of the class's loss, convolved with the shifts where there are any."""
    head = _double(net.head)

    def loss(f: Tensor) -> Tensor:
        moved = f[:, None] + shifts if len(shifts) else f[:, None]
        logits = head(moved.flatten(0, 1))
        labels = label.expand(len(logits))
        found = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
        return found.view(moved.shape[:2]).mean(1)

    with torch.enable_grad():
        return feature_hessian(loss, features).norms


def _double(head: torch.nn.Module) -> torch.nn.Module:
    from copy import deepcopy

    return deepcopy(head).double().eval()


def _damping(shifts: Tensor) -> tuple[Tensor, float]:
    """|K̂(ω)| along the first principal direction of shifts (k, d), and the share of their variance there."""
    centred = shifts - shifts.mean(0)
    _, values, axes = svd(centred)
    along = centred @ axes[:, 0].to(centred)
    frequencies = torch.tensor(FREQUENCIES, dtype=torch.float64) / along.std().clamp_min(1e-12)
    share = float(values[0] ** 2 / values.square().sum().clamp_min(1e-24))
    return characteristic(along, frequencies), share
