"""How a machine takes a step: products in bfloat16, compiled kernels; off unless asked for, told in the record."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from worlds import toy

import xmodal_lab as xl
from xmodal_lab.training import machine, options
from xmodal_lab.training.stacking import fit_stack


@pytest.fixture
def products(monkeypatch: pytest.MonkeyPatch) -> list[torch.dtype]:
    """The dtypes in which nets multiply, pass by pass."""
    seen: list[torch.dtype] = []
    plain = torch.nn.functional.linear

    def linear(x: torch.Tensor, *given: Any) -> torch.Tensor:
        found = plain(x, *given)
        seen.append(found.dtype)
        return found

    monkeypatch.setattr(torch.nn.functional, "linear", linear)
    return seen


def net(ds: xl.Dataset, seed: int = 0, architecture: str = "mlp") -> xl.LateFusion:
    return xl.LateFusion.for_dataset(ds, width=8, seed=seed, architecture=architecture)


@pytest.mark.parametrize("recipe", [None, xl.recipes.dml(1.0)])
def test_a_step_multiplies_in_bfloat16_and_keeps_the_rest(products: list[torch.dtype], recipe: Any) -> None:
    ds = toy(48)
    asked: dict[str, Any] = {"epochs": 3, "batch_size": 16, "device": "cpu", "recipe": recipe}
    plain = xl.fit(net(ds), ds, **asked)
    assert torch.bfloat16 not in products
    products.clear()
    rounded = xl.fit(net(ds), ds, precision="bf16", **asked)
    # Held-out rows and what is returned are in float32.
    assert {torch.bfloat16, torch.float32} == set(products)
    assert {p.dtype for p in rounded.model.parameters()} == {torch.float32}
    assert (plain.settings["precision"], rounded.settings["precision"]) == ("full", "bf16")
    off = (plain.history["loss"] - rounded.history["loss"]).abs()
    assert 0 < off.max() < 0.05 * plain.history["loss"].max()
    products.clear()
    assert plain.history["loss"].tolist() == xl.fit(net(ds), ds, **asked).history["loss"].tolist()
    assert torch.bfloat16 not in products


@pytest.mark.parametrize("architecture", ["mlp", "conv"])
@pytest.mark.parametrize("recipe", [None, xl.recipes.dml(1.0)])
def test_a_member_of_a_rounded_stack_is_the_one_alone_to_rounding(architecture: str, recipe: Any) -> None:
    ds = xl.load("shapes", modalities=("image", "audio"), n_train=60, n_test=12) if architecture == "conv" else toy(48)
    nets = [net(ds, seed, "cnn" if architecture == "conv" else "mlp") for seed in range(2)]
    asked: dict[str, Any] = {"epochs": 2, "batch_size": 12, "device": "cpu", "precision": "bf16", "recipe": recipe}
    together = fit_stack(nets, ds, seed=[0, 1], **asked)
    for k, one in enumerate(nets):
        alone, member = xl.fit(one, ds, seed=k, **asked), together[k]
        assert isinstance(member, xl.training.Run) and member.settings["precision"] == "bf16"
        for column in ("loss", "test_loss"):
            assert member.history[column].tolist() == pytest.approx(alone.history[column].tolist(), rel=0.02)


def test_compiled_steps_give_what_plain_ones_give(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through torch's tracer and no code of its own, which needs a compiler and a minute."""
    monkeypatch.setattr(machine, "BACKEND", "eager")
    ds, compiled, plain = toy(32), [], torch.compile
    monkeypatch.setattr(torch, "compile", lambda f, **how: compiled.append(f) or plain(f, **how))
    asked: dict[str, Any] = {"epochs": 2, "batch_size": 16, "device": "cpu"}
    one, other = (xl.fit(net(ds), ds, compile=on, **asked) for on in (False, True))
    assert one.history["loss"].tolist() == other.history["loss"].tolist()
    assert compiled and (one.settings["compile"], other.settings["compile"]) == (False, True)
    compiled.clear()
    stacks = [fit_stack([net(ds), net(ds, 1)], ds, compile=on, **asked) for on in (False, True)]
    assert compiled
    for a, b in zip(*stacks, strict=True):
        assert isinstance(a, xl.training.Run) and isinstance(b, xl.training.Run)
        assert a.history["loss"].tolist() == b.history["loss"].tolist()


@pytest.mark.slow
@pytest.mark.once
def test_kernels_that_are_really_compiled_give_what_plain_ones_give() -> None:
    """By inductor, with a C++ compiler: half a minute of processor time, kept in its cache."""
    if why := machine._no_compiler(torch.device("cpu"), machine.BACKEND):
        pytest.skip(f"nothing compiles here: {why}")
    ds = toy(48)
    asked: dict[str, Any] = {"epochs": 2, "batch_size": 16, "device": "cpu"}
    plain, compiled = xl.fit(net(ds), ds, **asked), xl.fit(net(ds), ds, compile=True, **asked)
    assert compiled.settings["compile"]
    assert compiled.history["loss"].tolist() == pytest.approx(plain.history["loss"].tolist(), rel=1e-5)


def test_what_a_device_cannot_do_is_refused_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    ds = toy(24)
    with pytest.raises(ValueError, match="unknown precision 'fp16'; known: 'full', 'bf16'"):
        xl.fit(net(ds), ds, precision="fp16")
    with pytest.raises(TypeError, match="compile must be True or False, got str 'yes'"):
        xl.fit(net(ds), ds, compile="yes")
    with pytest.raises(ValueError, match=r"precision='bf16' is for nets in float32.*use net.float\(\)"):
        xl.fit(net(ds).double(), ds.to(dtype=torch.float64), precision="bf16")
    monkeypatch.setattr(machine, "_no_bfloat16", lambda device: "no such cores")
    with pytest.raises(ValueError, match=r"'bf16' does not work on 'cpu' \(no such cores\); use precision='full'"):
        fit_stack([net(ds)], ds, precision="bf16", device="cpu")
    monkeypatch.setattr(machine, "BACKEND", "no such backend")
    with pytest.raises(ValueError, match=r"compile=True does not work on 'cpu' \(.*no such backend.*\); leave it out"):
        xl.fit(net(ds), ds, compile=True, device="cpu")
    pictures = xl.load("shapes", modalities=("image", "audio"), n_train=60, n_test=12)
    monkeypatch.setattr(machine, "BACKEND", "eager")
    with pytest.raises(ValueError, match="compile=True is for stacks of dense late-fusion nets"):
        fit_stack([net(pictures, architecture="cnn")], pictures, compile=True, device="cpu")


def test_it_is_no_setting_of_an_experiment() -> None:
    assert options.MACHINE == ("precision", "compile") and not set(options.MACHINE) & set(options.PLAIN)
