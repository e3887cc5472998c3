"""Curvature on an accelerator: blocks of products, what goes on where there is little memory, and without CUDA graphs."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import xmodal_lab as xl
from xmodal_lab.training.stacking import fit_stack
from xmodal_lab.utils import graphs

# Where a device has no float64, derivatives are checked less sharply, which is told.
pytestmark = pytest.mark.filterwarnings("ignore:the second derivative of:RuntimeWarning")
SIZE = 300


def bowl(gpu: Any, values: Tensor) -> xl.Loss:
    """A quadratic whose Hessian has these eigenvalues, on the device, and turned."""
    draw = torch.Generator().manual_seed(0)
    basis, _ = torch.linalg.qr(torch.randn(len(values), len(values), generator=draw, dtype=torch.float64))
    basis, curved = basis.float().to(gpu.type), values.float().to(gpu.type)
    return xl.Loss(lambda p: 0.5 * (curved * (p["w"] @ basis) ** 2).sum(), {"w": torch.ones(len(values)).to(gpu.type)})


def net(width: int = 16, depth: int = 3) -> nn.Module:
    torch.manual_seed(0)
    inner = [part for _ in range(depth) for part in (nn.Linear(width, width), nn.Tanh())]
    return nn.Sequential(nn.Linear(8, width), nn.Tanh(), *inner, nn.Linear(width, 4))


def rows(count: int) -> tuple[Tensor, Tensor]:
    return torch.randn(count, 8, generator=torch.Generator().manual_seed(1)), torch.arange(count) % 4


def counts(gpu: Any, act: Callable[[], object]) -> dict[str, int]:
    with gpu.counting() as seen:
        act()
    return dict(seen)


@pytest.mark.parametrize("tops", [(6.0, 5.0, 4.0, 3.0, 2.0), (4.0, 4.0, 4.0, 2.0, 2.0, 2.0), (5.0, 4.999, 4.998)])
@pytest.mark.parametrize("which", ["largest", "magnitude"])
def test_blocks_find_the_eigenvalues_also_repeated_ones(gpu: Any, tops: tuple[float, ...], which: str) -> None:
    values = torch.randn(SIZE, generator=torch.Generator().manual_seed(2), dtype=torch.float64) / 10
    values[: len(tops)] = torch.tensor(tops, dtype=torch.float64)
    operator = xl.curvature.hessian(bowl(gpu, values))
    assert operator.goes_together()
    found = xl.curvature.top_eigenvalues(operator, 4, which, vectors=True)
    order = values.abs() if which == "magnitude" else values
    right = values[order.argsort(descending=True)[:4]]
    assert found.converged
    np.testing.assert_allclose(found.values, right, rtol=1e-4)
    assert bool(((found.values - right).abs() <= found.errors + 1e-5 * right.abs().max()).all())
    vectors = torch.stack([v["w"].cpu().double() for v in found.vectors])
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(4), atol=1e-5)


def test_a_block_launches_less_than_one_product_after_another(gpu: Any) -> None:
    if gpu.type != "cuda":
        pytest.skip("blocks are made orthonormal by a factor that is CUDA's")
    operator = xl.curvature.hessian(xl.Loss.from_module(net().to(gpu.type), rows(40)))
    assert operator.goes_together()
    found: list[Any] = []
    together = counts(gpu, lambda: found.append(xl.curvature.top_eigenvalues(operator, 5)))
    assert together["waits"] <= found[0].hvps / 5 + 3
    operator._batches = False
    one_by_one = counts(gpu, lambda: found.append(xl.curvature.top_eigenvalues(operator, 5)))
    assert together["launches"] < 0.9 * one_by_one["launches"]
    np.testing.assert_allclose(found[0].values, found[1].values, rtol=2e-4)


def test_products_that_do_not_fit_together_go_in_smaller_lots(gpu: Any) -> None:
    """What one product takes is there; sixteen at once are not, and eight or four are."""
    module, (x, y) = net(64), rows(3000)
    loss = xl.Loss.from_module(module.to(gpu.type), (x, y))
    operator = xl.curvature.hessian(loss)
    vectors = torch.randn(16, operator.size, generator=torch.Generator().manual_seed(0)).to(gpu.type)
    expected = torch.stack([operator.matvec(v) for v in vectors])
    one = counts(gpu, lambda: operator.matvec(vectors[0]))
    assert operator.goes_together()
    with gpu.limited(6 * (one["peak"] - one["bytes"])), warnings.catch_warnings():
        warnings.simplefilter("error")  # the chunks of rows stay as they are
        seen = operator.many(vectors)
    assert 1 <= operator._at_once < 16
    torch.testing.assert_close(seen, expected, rtol=1e-3, atol=1e-5)


def test_eigenvalues_with_little_memory_are_the_same(gpu: Any) -> None:
    if gpu.type != "cuda":
        pytest.skip("only CUDA tells how much memory is left")
    module, (x, y) = net(32), rows(2000)
    expected = xl.curvature.top_eigenvalues(xl.Loss.from_module(module, (x, y)), 3)
    spectrum = xl.curvature.density(xl.Loss.from_module(module, (x, y)), steps=8, probes=3)
    loss = xl.Loss.from_module(module.to(gpu.type), (x, y))
    free = counts(gpu, lambda: xl.curvature.top_eigenvalues(loss, 3))
    for share in (0.6, 0.3):
        with gpu.limited(int(share * (free["peak"] - free["bytes"]))), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            seen, density = xl.curvature.top_eigenvalues(loss, 3), xl.curvature.density(loss, steps=8, probes=3)
        np.testing.assert_allclose(seen.values, expected.values, rtol=1e-3)
        np.testing.assert_allclose(density.nodes, spectrum.nodes, rtol=1e-2, atol=1e-4)


class Detached(nn.Module):
    """Its gradient misses the part that went through a number."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.a(x) * (1 + float(self.a.weight.detach().square().mean()))


def test_wrong_derivatives_are_refused_also_where_there_is_no_float64(gpu: Any) -> None:
    torch.manual_seed(0)
    loss = xl.Loss.from_module(Detached().to(gpu.type), rows(20))
    with pytest.raises(ValueError, match="is not the derivative of its value"):
        xl.curvature.top_eigenvalues(loss, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # and right ones are seen to be right
        xl.curvature.trace(xl.Loss.from_module(net().to(gpu.type), rows(20)), probes=2)


class Kept(nn.Module):
    """The old ``weight_norm``, which leaves the weight that it made on the layer."""

    def __init__(self) -> None:
        super().__init__()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.a = torch.nn.utils.weight_norm(nn.Linear(8, 6))
        self.b = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.relu(self.a(x)))


@pytest.mark.filterwarnings("ignore:There is a performance drop")  # torch has no rule of its own for it under vmap
def test_a_model_is_left_as_it_was_after_points_went_together(gpu: Any) -> None:
    torch.manual_seed(0)
    module = Kept()
    expected = xl.landscape.plane(xl.Loss.from_module(module, rows(12)), points=3)
    loss = xl.Loss.from_module(module.to(gpu.type), rows(12))
    seen = xl.landscape.plane(loss, points=3)
    np.testing.assert_allclose(seen, expected, rtol=1e-4)
    assert not torch._C._functorch.is_functorch_wrapped_tensor(module.a.weight)
    assert np.isfinite(xl.landscape.line(loss, points=3)).all() and module.a.weight.shape == (6, 8)


@pytest.fixture
def as_if_real(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs may be recorded, as far as the library knows; nothing here can."""
    if gpu.type != "cuda":
        pytest.skip("graphs are CUDA's")
    monkeypatch.setattr(torch.version, "cuda", "12.0")
    monkeypatch.setattr(graphs, "_FAILED", set())
    assert graphs.may_record(torch.device("cuda"))


def test_where_a_capture_fails_all_goes_on_kernel_by_kernel(gpu: Any, as_if_real: None) -> None:
    loss = xl.Loss.from_module(net(), rows(20))
    there = xl.Loss.from_module(net().to(gpu.type), rows(20))
    vector = torch.ones(loss.size)
    one, two = xl.curvature.hessian(loss), xl.curvature.hessian(there)
    with pytest.warns(UserWarning, match=r"a product with a Hessian could not be recorded as a CUDA graph \("):
        found = [two.matvec(vector.to(gpu.type)) for _ in range(graphs.AFTER + 2)]
    for product in found:
        torch.testing.assert_close(product.cpu(), one.matvec(vector), rtol=1e-4, atol=1e-6)
    cost = torch.rand(3, 4, 5, generator=torch.Generator().manual_seed(0))
    ds = xl.load("digits", modalities=("image", "audio"), images_per_class=13, clips_per_class=13)
    nets = [xl.LateFusion.for_dataset(ds, architecture="mlp", seed=s) for s in range(2)]
    asked: dict[str, Any] = {"epochs": 4, "seed": [0, 1]}
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        plans = [xl.transport.ipot(cost.to(gpu.type)).plan for _ in range(graphs.AFTER + 2)]
        runs = fit_stack(nets, ds, device=gpu.type, **asked)
    assert all("could not be recorded as a CUDA graph" in str(w.message) for w in said)
    torch.testing.assert_close(plans[-1].cpu(), xl.transport.ipot(cost).plan, rtol=1e-4, atol=1e-6)
    for run, right in zip(runs, fit_stack(nets, ds, device="cpu", **asked), strict=True):
        assert isinstance(run, xl.Run) and isinstance(right, xl.Run)
        np.testing.assert_allclose(run.history["loss"], right.history["loss"], rtol=1e-3)
