"""Small worlds that tests share: a quadratic with a known Hessian, and a toy dataset."""

from __future__ import annotations

import torch

import xmodal_lab as xl


def quadratic(dtype: torch.dtype = torch.float64, seed: int = 0) -> tuple[xl.Loss, torch.Tensor, torch.Tensor]:
    """Loss = ½ (θ - c)ᵀ H (θ - c) over a matrix and a vector parameter; returns the loss, H and c."""
    g = torch.Generator().manual_seed(seed)
    shapes = {"weight": (2, 3), "bias": (4,)}
    size = 10
    root = torch.randn(size, size, generator=g, dtype=torch.float64)
    hessian = (root + root.T).to(dtype)
    centre = torch.randn(size, generator=g, dtype=torch.float64).to(dtype)
    params = {k: torch.randn(s, generator=g, dtype=torch.float64).to(dtype) for k, s in shapes.items()}

    def fn(p: dict[str, torch.Tensor]) -> torch.Tensor:
        d = torch.cat([p["weight"].reshape(-1), p["bias"]]) - centre.to(p["bias"].dtype)
        return 0.5 * d @ hessian.to(d.dtype) @ d

    return xl.Loss(fn, params, name="quadratic"), hessian, centre


def toy(n: int = 60, classes: int = 3, seed: int = 0, absent: bool = False) -> xl.Dataset:
    """Two modalities whose mean depends on the class; with ``absent``, half the rows have no image."""
    g = torch.Generator().manual_seed(seed)

    def split(n: int, absent: bool) -> xl.Samples:
        labels = torch.arange(n) % classes
        shift = labels.float() - (classes - 1) / 2
        inputs = {
            "image": torch.randn(n, 1, 8, 8, generator=g) + 0.5 * shift.view(-1, 1, 1, 1),
            "audio": torch.randn(n, 1, 16, 16, generator=g) + 0.2 * shift.view(-1, 1, 1, 1),
        }
        present = {"image": torch.arange(n) < n // 2} if absent else {}
        return xl.Samples(inputs, labels, present)

    names = tuple("abcdefghij"[:classes])
    return xl.Dataset("toy", split(n, absent), split(n, False), names, val=split(n, False))
