"""How often the host waits and how many kernels it launches: what decides the speed of small nets on a GPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

import xmodal_lab as xl
from xmodal_lab.training.stacking import fit_stack


@pytest.fixture(scope="module")
def digits() -> xl.Dataset:
    return xl.load("digits", modalities=("image", "audio"), images_per_class=13, clips_per_class=13)


def net(digits: xl.Dataset, architecture: str, seed: int = 0) -> xl.LateFusion:
    return xl.LateFusion.for_dataset(digits, architecture=architecture, seed=seed)


def counts(gpu: Any, act: Callable[[], object]) -> dict[str, int]:
    with gpu.counting() as seen:
        act()
    return dict(seen)


def an_epoch(gpu: Any, train: Callable[[int], object], name: str = "waits") -> float:
    """Of one epoch more."""
    train(1)
    return (counts(gpu, lambda: train(4))[name] - counts(gpu, lambda: train(2))[name]) / 2


@pytest.mark.parametrize(("architecture", "ceiling"), [("mlp", 8), ("cnn", 20)])
def test_a_point_of_a_plane_launches_few_kernels(gpu: Any, digits: xl.Dataset, architecture: str, ceiling: int) -> None:
    loss = xl.loss_on(net(digits, architecture).to(gpu.type), digits.test.subset(slice(0, 32)))
    xl.landscape.plane(loss, points=3)
    assert counts(gpu, lambda: xl.landscape.plane(loss, points=9))["launches"] <= ceiling * 81


def test_a_sample_of_the_low_pass_filter_waits_seldom(gpu: Any, digits: xl.Dataset) -> None:
    loss = xl.loss_on(net(digits, "cnn").to(gpu.type), digits.test.subset(slice(0, 32)))
    xl.flatness.lpf(loss, 0.1, samples=2)
    seen = counts(gpu, lambda: xl.flatness.lpf(loss, 0.1, samples=32))
    assert seen["waits"] <= 32 and seen["launches"] <= 40 * 32
    one_by_one = torch.tensor([1.0, 2.0])
    gap = xl.flatness.gap(loss, one_by_one, directions=17)
    here = xl.flatness.gap(xl.loss_on(net(digits, "cnn"), digits.test.subset(slice(0, 32))), one_by_one, directions=17)
    torch.testing.assert_close(gap.differences, here.differences, rtol=1e-3, atol=1e-5)


# Where a device has no float64, derivatives are checked less sharply, which is told.
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_products_with_the_hessian_wait_once_for_five(gpu: Any, digits: xl.Dataset) -> None:
    samples = digits.test.subset(slice(0, 32))
    operator = xl.curvature.hessian(xl.loss_on(net(digits, "mlp").to(gpu.type), samples))
    xl.curvature.top_eigenvalues(operator, 3)
    before = operator.products
    seen = counts(gpu, lambda: xl.curvature.top_eigenvalues(operator, 3))
    made = operator.products - before
    assert seen["waits"] <= made / 5 + 3
    seen = counts(gpu, lambda: xl.curvature.density(operator, steps=20, probes=2))
    assert seen["waits"] <= 40 / 5 + 3
    # The products of all probes go back through the graph together.
    few, many = (
        counts(gpu, lambda p=p: xl.curvature.density(operator, steps=20, probes=p))["launches"] for p in (2, 8)
    )
    assert many <= 2 * few
    seen = counts(gpu, lambda: xl.curvature.trace(operator, probes=32))
    assert seen["waits"] <= 32 / 5 + 3


# Where a device has no float64, derivatives are checked less sharply, which is told.
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_many_products_at_once_are_those_one_by_one(gpu: Any, digits: xl.Dataset) -> None:
    for architecture in ("mlp", "cnn"):
        loss = xl.loss_on(net(digits, architecture).to(gpu.type), digits.test.subset(slice(0, 16)))
        operator = xl.curvature.hessian(loss)
        vectors = torch.randn(4, operator.size, generator=torch.Generator().manual_seed(0)).to(gpu.type)
        one_by_one = torch.stack([operator.matvec(v) for v in vectors])
        torch.testing.assert_close(operator.many(vectors), one_by_one, rtol=1e-3, atol=1e-5)


def test_a_step_of_fit_does_not_wait_for_its_numbers(gpu: Any, digits: xl.Dataset) -> None:
    def train(batch_size: int) -> Callable[[int], object]:
        return lambda epochs: xl.fit(
            net(digits, "mlp"), digits, epochs=epochs, batch_size=batch_size, pairing="same_class", device=gpu.type
        )

    assert an_epoch(gpu, train(13)) == an_epoch(gpu, train(65))


@pytest.mark.parametrize("pairing", ["fixed", "same_class"])
@pytest.mark.parametrize("augment", ["", "jitter"])
def test_an_epoch_of_a_stack_waits_four_times_at_most(gpu: Any, digits: xl.Dataset, pairing: str, augment: str) -> None:
    for members in (2, 5):
        nets = [net(digits, "mlp", seed) for seed in range(members)]
        seeds = list(range(members))

        def train(epochs: int, nets: Any = nets, seeds: Any = seeds) -> object:
            return fit_stack(nets, digits, epochs=epochs, seed=seeds, pairing=pairing, augment=augment, device=gpu.type)

        assert an_epoch(gpu, train) <= 4


def test_a_step_of_a_stack_does_not_wait(gpu: Any, digits: xl.Dataset) -> None:
    def train(batch_size: int) -> Callable[[int], object]:
        return lambda epochs: fit_stack(
            [net(digits, "mlp", s) for s in range(3)], digits, epochs=epochs, batch_size=batch_size, device=gpu.type
        )

    assert an_epoch(gpu, train(13)) == an_epoch(gpu, train(65))


def test_augmentation_of_a_stack_launches_what_that_of_one_does(gpu: Any, digits: xl.Dataset) -> None:
    """One member after another took 602 launches a step for 16 of them, where a plain step takes 56."""

    def launches(members: int, augment: str) -> float:
        nets = [net(digits, "mlp", s) for s in range(members)]
        asked: dict[str, Any] = {"augment": augment, "seed": list(range(members)), "device": gpu.type}
        return an_epoch(gpu, lambda epochs: fit_stack(nets, digits, epochs=epochs, **asked), "launches")

    added = [launches(members, "jitter+crop") - launches(members, "") for members in (1, 6)]
    assert added[1] <= 1.1 * added[0] + 8


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_rates_of_their_own_cost_a_stack_few_launches(gpu: Any, digits: xl.Dataset, optimizer: str) -> None:
    """One optimizer serves all members; sixteen of them took half as many launches again as the step itself."""
    nets, steps = [net(digits, "mlp", s) for s in range(6)], 130 // 65

    def launches(lr: Any) -> float:
        asked: dict[str, Any] = {"optimizer": optimizer, "lr": lr, "batch_size": 65, "device": gpu.type}
        return an_epoch(gpu, lambda epochs: fit_stack(nets, digits, epochs=epochs, **asked), "launches")

    several = [1e-3 * (k + 1) for k in range(6)]
    parameters = len(list(nets[0].parameters()))
    assert launches(several) - launches(1e-3) <= (4 * parameters + 4) * steps
    runs = fit_stack(nets, digits, epochs=2, lr=several, optimizer=optimizer, device=gpu.type)
    for k, one in enumerate(nets):
        alone, run = xl.fit(one, digits, epochs=2, lr=several[k], optimizer=optimizer, device=gpu.type), runs[k]
        assert isinstance(run, xl.training.Run)
        assert run.history["loss"].tolist() == pytest.approx(alone.history["loss"].tolist(), rel=2e-4)


def test_an_epoch_under_a_recipe_waits_four_times_at_most(gpu: Any, digits: xl.Dataset) -> None:
    """Targets were drawn from rows on the device, for which the host waited twice for each member and term."""
    latent = xl.terms.Latent(kind="same_class", teacher="audio", of=("image",), weight=0.2)
    recipe = xl.Recipe((xl.terms.Task(), latent, xl.terms.Alignment(weight=0.1)))
    for members in (2, 6):
        nets = [net(digits, "mlp", s) for s in range(members)]
        asked: dict[str, Any] = {"seed": list(range(members)), "recipe": recipe, "device": gpu.type}
        assert an_epoch(gpu, lambda epochs, n=nets, a=asked: fit_stack(n, digits, epochs=epochs, **a)) <= 4


def test_a_step_of_an_attack_does_not_wait(gpu: Any, digits: xl.Dataset) -> None:
    """Labels, outputs and gradients were looked at in each, for which the host waited five times."""
    attacked, rows = net(digits, "mlp").to(gpu.type), digits.test.subset(slice(0, 16))
    if gpu.type == "mps":
        pytest.skip("its steps are taken in float64, on the CPU")
    waits = [
        counts(gpu, lambda n=n: xl.robustness.pgd(attacked, rows, "image", 0.1, iterations=n))["waits"] for n in (3, 13)
    ]
    assert waits[0] == waits[1]


def test_a_transport_plan_by_proximal_steps_waits_seldom(gpu: Any) -> None:
    cost = torch.rand(3, 4, 5, generator=torch.Generator().manual_seed(0)).to(gpu.type)
    waits = [counts(gpu, lambda n=n: xl.transport.ipot(cost, iterations=n, tol=10.0))["waits"] for n in (20, 80)]
    assert waits[0] == waits[1]
