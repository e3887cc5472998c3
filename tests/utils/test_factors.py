"""What mathematics leaves free has one rule: signs, equal eigenvalues, directions without extent, equal scores."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from xmodal_lab.utils import factors

ROOT = Path(__file__).resolve().parents[2]
# Calls whose result is free up to sign, order or a turn.
FREE = {
    "svd", "eigh", "eig", "eigsh", "svds", "qr", "lobpcg", "pca_lowrank", "svd_lowrank", "PCA", "TruncatedSVD",
    "IncrementalPCA", "CCA", "topk", "null_space", "orth", "schur",
}  # fmt: skip
# Who calls one directly, and why its freedom does not reach a result.
INVARIANT = {
    "factors": "the rule itself",
    "lanczos": "Ritz vectors on the way; curvature turns those that come out",
    "block_lanczos": "as lanczos, and a basis whose span alone counts",
    "clouds": "only basis times basis",
    "loewner": "projectors, inverses and roots; schur is ours",
    "linear": "roots, and a projector",
    "digits": "a projector",
    "avmnist_build": "a projector",
    "trade": "squares of coordinates in its basis",
    "gaussians": "roots and covariances",
    "designs": "projectors and informations",
    "theorems": "a root",
    "uml_theory": "turned by the rule, or squared",
}  # fmt: skip


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def orthogonal(d: int, seed: int) -> torch.Tensor:
    return torch.linalg.qr(torch.randn(d, d, generator=generator(seed), dtype=torch.float64))[0]


def free_calls(path: Path) -> set[str]:
    """Calls of :data:`FREE` names in a file, but for those that it imports from the rule."""
    tree = list(ast.walk(ast.parse(path.read_text())))
    from_rule = [n for n in tree if isinstance(n, ast.ImportFrom) and (n.module or "").endswith("factors")]
    ruled = {alias.name for n in from_rule for alias in n.names}
    calls = [n.func for n in tree if isinstance(n, ast.Call)]
    direct = {f.attr for f in calls if isinstance(f, ast.Attribute)}
    return (direct | {f.id for f in calls if isinstance(f, ast.Name)} - ruled) & FREE


def test_every_free_factor_goes_through_the_rule_or_says_why_not() -> None:
    paths = [p for folder in ("xmodal_lab", "widgets/xmodal_widgets") for p in (ROOT / folder).rglob("*.py")]
    found = {p.stem for p in paths if free_calls(p)}
    assert found - set(INVARIANT) == set(), "use xmodal_lab's factors, or say here why the freedom is not seen"
    assert set(INVARIANT) - found == set(), "nothing free is left here"


@given(st.integers(0, 99), st.integers(2, 9))
def test_the_sign_does_not_hang_on_the_one_that_came(seed: int, d: int) -> None:
    vectors = torch.randn(d, 3, generator=generator(seed), dtype=torch.float64)
    flips = torch.tensor([1.0, -1.0, -1.0])
    turned = factors.oriented(vectors)
    assert torch.equal(turned, factors.oriented(vectors * flips))
    assert bool((turned.gather(0, turned.abs().argmax(0)[None]) > 0).all())


def test_rounding_does_not_choose_between_entries_equal_by_symmetry() -> None:
    half = 0.5**0.5
    up = torch.tensor([[half], [-half * (1 + 1e-15)]], dtype=torch.float64)
    down = torch.tensor([[half * (1 + 1e-15)], [-half]], dtype=torch.float64)
    assert float(factors.oriented(up)[0, 0]) > 0
    assert float(factors.oriented(-up)[0, 0]) > 0
    assert float(factors.oriented(down)[0, 0]) > 0


@given(st.integers(0, 50))
def test_equal_eigenvalues_have_one_basis(seed: int) -> None:
    """The same matrix made from two bases of its double eigenvalue; rounding differs."""
    values, axes = torch.tensor([1.0, 2.0, 2.0, 2.0, 5.0], dtype=torch.float64), orthogonal(5, seed)
    inside = torch.block_diag(torch.eye(1), orthogonal(3, seed + 100), torch.eye(1)).to(axes)
    one, other = ((b * values) @ b.T for b in (axes, axes @ inside))
    (found, u), (_, v) = factors.eigh(one), factors.eigh((other + other.T) / 2)
    torch.testing.assert_close(found, values, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(u, v, rtol=0, atol=1e-8)
    torch.testing.assert_close((u * values) @ u.T, one, rtol=0, atol=1e-12)
    torch.testing.assert_close(u.T @ u, torch.eye(5, dtype=u.dtype), rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [(40, 12), (12, 40)])
def test_leading_axes_are_those_of_the_svd(shape: tuple[int, int]) -> None:
    x = torch.randn(shape, generator=generator(0), dtype=torch.float64)
    axes, (_, _, v) = factors.leading_axes(x, 6), factors.svd(x)
    torch.testing.assert_close(axes, v[:, :6], rtol=0, atol=1e-10)


def test_of_many_rows_and_columns_they_are_sought(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(60, 50, generator=generator(0), dtype=torch.float64) * torch.logspace(0, -3, 50)
    exact = factors.leading_axes(x, 8)
    monkeypatch.setattr(factors, "EXACT", 20)
    torch.testing.assert_close(factors.leading_axes(x, 8), exact, rtol=0, atol=1e-7)


@pytest.mark.parametrize("shape", [(40, 12), (12, 40)])
def test_what_has_no_extent_is_zero(shape: tuple[int, int]) -> None:
    """Five classes named many times: rank 5, and what rounding makes of the rest would reach new texts."""
    rows, columns = shape
    x = torch.randn(5, columns, generator=generator(0))[torch.arange(rows) % 5]
    axes = factors.leading_axes(x, 9)
    assert axes.shape == (columns, 9)
    torch.testing.assert_close(axes.norm(dim=0).float(), torch.tensor([1.0] * 5 + [0.0] * 4))
    assert not factors.leading_axes(torch.zeros(3, 4), 2).any()


def test_components_do_not_change_with_the_order_of_sums() -> None:
    x = torch.rand(200, 1, 8, 8, generator=generator(0))
    again = x[torch.randperm(200, generator=generator(1))]
    one, other = (factors.principal_components(seen, 20)(x[:50]) for seen in (x, again))
    torch.testing.assert_close(one, other, rtol=0, atol=1e-6)
    assert one.dtype == x.dtype


def test_the_first_of_equal_means_is_best() -> None:
    same = [0.1 + 0.2 + 0.3, 0.3 + 0.2 + 0.1]
    assert same[0] != same[1]
    assert factors.first_best(same) == factors.first_best(same[::-1]) == 0
    assert factors.first_best([np.nan, 0.5, 0.7, 0.7]) == 2
    assert factors.first_best([np.nan, np.nan]) == 0
    found = {"a": [0.5, np.nan], "b": [0.4, 0.6], "c": 0.7, "d": [0.6, 0.8]}
    assert factors.best_named(found) == "c", "of equals the first"
    assert factors.best_named({"lost": [np.nan, np.nan], "a": -1.0}) == "a"
    assert factors.first_best([-0.2, 0.0, 0.0001]) == 2
    assert factors.first_best([[1.0, 2.0], [2.0, 1.0]]).tolist() == [1, 0]
    table = xr.DataArray([[1.0, 3.0], [2.0, 2.0]], dims=["a", "b"], coords={"b": [5, 6], "a": [7, 8]})
    found = factors.first_best(table, "a")
    assert found.dims == ("b",) and found.values.tolist() == [1, 0]


def test_the_top_keeps_the_order_of_equal_scores() -> None:
    scores = torch.zeros(100)
    scores[[7, 50]] = 1.0
    assert factors.top(scores, 5)[1].tolist() == [7, 50, 0, 1, 2]
