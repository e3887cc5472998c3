"""Several products a step find what one after the other finds: dense eigenvalues, repeated ones, with bounds that hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from xmodal_lab.instruments.curvature.block_lanczos import BROAD, NARROW, BlockKrylov, breadth
from xmodal_lab.instruments.curvature.leading import Eigenpairs, leading
from xmodal_lab.utils.factors import orthonormal

SIZE = 240


def matrix(values: Tensor) -> Tensor:
    """Symmetric, with these eigenvalues and random eigenvectors."""
    draw = torch.Generator().manual_seed(0)
    basis, _ = torch.linalg.qr(torch.randn(len(values), len(values), generator=draw, dtype=torch.float64))
    return (basis * values) @ basis.T


def spectrum(kind: str) -> Tensor:
    """A bulk around 0 and what stands out of it."""
    bulk = torch.randn(SIZE, generator=torch.Generator().manual_seed(1), dtype=torch.float64) / 10
    tops = {
        "apart": [9.0, 7.0, 5.0, 3.0, 2.0, -8.0],
        "repeated": [4.0, 4.0, 4.0, 2.0, 2.0, 2.0, 2.0],
        "near": [5.0, 5.0 - 1e-3, 5.0 - 2e-3, 1.0],
    }.get(kind)
    if tops is None:  # few eigenvalues are not 0: the basis is complete before it is full
        return torch.cat([torch.tensor([3.0, 3.0, 1.0, -1.0], dtype=torch.float64), torch.zeros(SIZE - 4)])
    bulk[: len(tops)] = torch.tensor(tops, dtype=torch.float64)
    return bulk


def asked(a: Tensor, k: int, dtype: torch.dtype = torch.float64, **more: Any) -> Eigenpairs:
    a = a.to(dtype)
    options: dict[str, Any] = {"tol": 1e-4, "max_products": 300, "seed": 0, **more}
    return leading(
        lambda v: a @ v, len(a), k, lambda values: values, dtype=dtype, device=torch.device("cpu"),
        many=lambda rows: rows @ a, **options,
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["apart", "repeated", "near", "low rank"])
@pytest.mark.parametrize("k", [2, 5, 7])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_blocks_find_the_dense_eigenvalues_within_their_bounds(kind: str, k: int, dtype: torch.dtype) -> None:
    a = matrix(spectrum(kind))
    dense = torch.linalg.eigvalsh(a).flip(0)[:k].numpy()
    found = asked(a, k, dtype)
    assert found.converged and found.products <= 300
    scale = np.abs(dense).max()
    rounding = 50 * torch.finfo(dtype).eps * scale
    assert (np.abs(found.values - dense) <= found.errors + rounding).all()
    np.testing.assert_allclose(found.values, dense, rtol=1e-4, atol=1e-4**2 * scale + rounding)
    vectors = found.vectors.double()
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(k), atol=2e3 * torch.finfo(dtype).eps)
    residuals = (vectors @ a - torch.as_tensor(found.values)[:, None] * vectors).norm(dim=1).numpy()
    np.testing.assert_allclose(residuals, found.residuals, rtol=0.1, atol=rounding)


def test_a_basis_that_is_full_is_compressed_and_goes_on() -> None:
    """A bulk that reaches the eigenvalues that are looked for takes several restarts in a small basis."""
    values = torch.linspace(-1, 1, SIZE, dtype=torch.float64)
    a, k = matrix(values), 4
    start = torch.randn(NARROW, SIZE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    run = BlockKrylov(lambda v: a @ v, lambda rows: rows @ a, start, start[:0], 30)
    products = 0
    for _ in range(20):
        while run.steps < run.capacity:
            products += run.advance(300)
        theta, coordinates, residual = run.ritz()
        vectors = torch.as_tensor(coordinates.T) @ run._rows[: run.steps]
        seen = (vectors @ a - torch.as_tensor(theta)[:, None] * vectors).norm(dim=1).numpy()
        np.testing.assert_allclose(seen, residual, atol=1e-12)
        run.compress(np.sort(np.argsort(-theta)[: k + 8]))
    np.testing.assert_allclose(np.sort(theta)[-k:], values[-k:], atol=1e-4)
    assert products > 300


def test_no_more_products_are_made_than_are_allowed() -> None:
    a = matrix(torch.linspace(0, 1, SIZE, dtype=torch.float64))
    for most in (7, 13, 42):
        found = asked(a, 3, max_products=most)
        assert found.products == most and not found.converged


def test_a_start_near_the_vectors_saves_products() -> None:
    a = matrix(spectrum("apart"))
    cold = asked(a, 5)
    warm = asked(a, 5, near=cold.vectors.sum(0))
    assert warm.products <= cold.products
    np.testing.assert_allclose(warm.values, cold.values, rtol=1e-4)


def test_a_product_that_is_not_finite_is_asked_for_why() -> None:
    def why(vector: Tensor) -> Tensor:
        raise ValueError("not finite, because")

    with pytest.raises(ValueError, match="not finite, because"):
        leading(
            why, SIZE, 2, lambda values: values, 1e-4, 50, 0, torch.float64, torch.device("cpu"),
            many=lambda rows: rows * torch.nan,
        )  # fmt: skip


def test_one_eigenvalue_or_little_room_go_without_a_block() -> None:
    assert breadth(1, 300) == 1 and breadth(2, 300) == NARROW and breadth(50, 300) == BROAD
    assert breadth(2, 10) == 1


def test_rows_become_orthonormal_with_the_triangle_that_undoes_it() -> None:
    rows = torch.randn(4, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows[3] = rows[1]
    basis, triangle = orthonormal(rows)
    np.testing.assert_allclose(basis @ basis.T, np.eye(4), atol=1e-14)
    np.testing.assert_allclose(triangle.T @ basis, rows, atol=1e-14)
    assert torch.equal(triangle, triangle.triu())
