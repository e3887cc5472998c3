"""Ordinary kinds of module under each instrument: on the device what comes on the CPU, or the same refusal."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import module_kinds
import numpy as np
import pytest

import xmodal_lab as xl

# Cells of torch's own recurrent layers are kernels of CUDA alone, which a device made of a CPU does not have.
LACKING = {"cuda": ("lstm", "gru"), "mps": (), "privateuseone": ("lstm", "gru")}
LOOKS: dict[str, Callable[[xl.Loss], Any]] = {
    "value": lambda loss: loss.value(),
    "plane": lambda loss: xl.landscape.plane(loss, points=3).values,
    "lpf": lambda loss: xl.flatness.lpf(loss, 0.1, samples=3, noise="filter").samples_values,
    "gap": lambda loss: xl.flatness.gap(loss, [0.5], directions=2, noise="relative").differences,
    "density": lambda loss: xl.curvature.density(loss, steps=4, probes=2).nodes,
    "trace": lambda loss: xl.curvature.trace(loss, probes=2).value,
    "fisher": lambda loss: xl.curvature.trace(loss, probes=2, of="fisher").value,
}


def asked(do: Callable[[], Any]) -> np.ndarray | str:
    """Numbers, or how they were refused."""
    try:
        return np.asarray(do(), dtype=float)
    except (ValueError, TypeError) as error:
        return f"{type(error).__name__}: {str(error)[:40]}"


@pytest.mark.parametrize("kind", list(module_kinds.KINDS))
def test_each_instrument_finds_there_what_it_finds_here(gpu: Any, kind: str) -> None:
    if kind in LACKING[gpu.type if gpu.type in LACKING else "privateuseone"]:
        pytest.skip(f"{kind}: the pretend device has no such kernel")
    found: dict[str, dict[str, np.ndarray | str]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # less sharp checks without float64, padding, no cuDNN: told elsewhere
        module, batch = module_kinds.made(kind)
        for place in ("cpu", gpu.type):
            module.to(place)
            loss = xl.Loss.from_module(module, batch)
            seen = {name: asked(lambda look=look, loss=loss: look(loss)) for name, look in LOOKS.items()}
            if batch[0].is_floating_point():
                name = "input" if len(batch) == 2 else "input_0"
                seen["pgd"] = asked(
                    lambda name=name: xl.robustness.pgd(module, batch, name, 0.1, iterations=2).adversarial_loss
                )
            found[place] = seen
    assert not isinstance(found["cpu"]["value"], str)
    for name, here in found["cpu"].items():
        there = found[gpu.type][name]
        if isinstance(here, str) or isinstance(there, str):
            assert str(here) == str(there), name
        else:
            np.testing.assert_allclose(there, here, rtol=5e-3, atol=1e-4 * max(1.0, np.abs(here).max()), err_msg=name)


def test_less_memory_changes_nothing(gpu: Any) -> None:
    """A convolutional net and a transformer, each with room for a part of what it would like to have."""
    for kind in ("conv, batch norm", "encoder layer"):
        module, (x, y) = module_kinds.made(kind)
        many = (x.repeat(64, *[1] * (x.ndim - 1)), y.repeat(64))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = [np.asarray(look(xl.Loss.from_module(module, many))) for look in (LOOKS["plane"], LOOKS["lpf"])]
            loss = xl.Loss.from_module(module.to(gpu.type), many)
            loss.value()
            with gpu.counting() as seen:
                LOOKS["plane"](loss)
            for share in (0.5, 0.1):
                with gpu.limited(int(share * seen["peak"])):
                    found = [np.asarray(look(loss)) for look in (LOOKS["plane"], LOOKS["lpf"])]
                for a, b in zip(found, expected, strict=True):
                    np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
