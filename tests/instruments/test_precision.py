"""Half precision is looked at in float32, float64 on request; no autocast, TensorFloat-32 or bfloat16 inside."""

from __future__ import annotations

import copy
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import faults as harm
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from worlds import toy

import xmodal_lab as xl
from xmodal_lab import flatness, landscape
from xmodal_lab.losses import Loss
from xmodal_lab.utils.torch_state import full_precision

HALF = (torch.float16, torch.bfloat16)


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.GELU(), nn.LayerNorm(16), nn.Linear(16, 3))


def batch(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    return torch.randn(30, 6, generator=torch.Generator().manual_seed(1)).to(dtype), torch.arange(30) % 3


def loss_in(dtype: torch.dtype) -> Loss:
    return Loss.from_module(net().to(dtype), batch(dtype), name="mine")


def same_numbers(dtype: torch.dtype) -> Loss:
    """In float32, with the parameters and data that ``dtype`` rounds to."""
    x, y = batch(dtype)
    return Loss.from_module(net().to(dtype).float(), (x.float(), y))


def ends(loss: Loss) -> list[dict[str, Tensor]]:
    return [{n: p.float() * (1 + 0.1 * k) for n, p in loss.params.items()} for k in range(3)]


MEASURES: dict[str, Callable[..., Any]] = {
    "plane": lambda loss, **o: landscape.plane(loss, points=5, **o).values,
    "coarse to fine": lambda loss, **o: landscape.plane(loss, points=5, tolerance=0.1, **o).values,
    "line": lambda loss, **o: landscape.line(loss, points=5, **o).values,
    "modality plane": lambda loss, **o: landscape.modality_plane(loss, "0", "3", points=5, **o).values,
    "trajectory": lambda loss, **o: (
        landscape.trajectory_plane(loss, [*ends(loss)[1:], {"0.bias": torch.ones(16)}], points=3, **o)["loss"].values
    ),
    "lpf": lambda loss, **o: flatness.lpf(loss, samples=4, **o).value,
    "gap": lambda loss, **o: flatness.gap(loss, radii=[0.01, 0.1], directions=3, **o).values,
    "compare": lambda loss, **o: flatness.compare({"a": loss}, samples=4, radii=[0.1], directions=3, **o)["value"],
    "eigenvalues": lambda loss, **o: xl.curvature.top_eigenvalues(loss, k=2, **o).values,
}


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("measure", MEASURES)
def test_half_precision_is_looked_at_in_float32_and_says_so_once(measure: str, dtype: torch.dtype) -> None:
    loss = loss_in(dtype)
    with pytest.warns(UserWarning, match=f"mine is in {str(dtype)[6:]}, .* looked at in float32") as caught:
        found = [MEASURES[measure](loss) for _ in range(2)][1]
    assert len(caught) == 1
    np.testing.assert_allclose(found, MEASURES[measure](same_numbers(dtype)), rtol=1e-5, atol=1e-6)
    assert {p.dtype for p in loss.module.parameters()} == {dtype}  # type: ignore[attr-defined]


@pytest.mark.parametrize("measure", MEASURES)
def test_float64_on_request(measure: str) -> None:
    double = Loss.from_module(net().double(), batch(torch.float64))
    asked = MEASURES[measure](loss_in(torch.float32), dtype=torch.float64)
    expected = np.asarray(MEASURES[measure](double, dtype=torch.float64))
    # directions are scaled by θ's norms, which float32 rounds
    np.testing.assert_allclose(asked, expected, rtol=1e-6)
    assert (
        np.abs(np.asarray(MEASURES[measure](loss_in(torch.float32))) - expected).max() < 1e-3 * np.abs(expected).max()
    )


def test_the_dtype_is_written_down() -> None:
    loss = loss_in(torch.float32)
    assert landscape.plane(loss, points=3).attrs["dtype"] == "float32"
    assert landscape.plane(loss, points=3, dtype=torch.float64).attrs["dtype"] == "float64"
    assert flatness.lpf(loss, samples=2, dtype=torch.float64).dtype == "float64"
    assert flatness.gap(loss, [0.1], 2).dtype == "float32"
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # asked for by name
        assert flatness.gap(loss_in(torch.bfloat16), [0.1], 2, dtype=torch.bfloat16).dtype == "bfloat16"


@pytest.mark.parametrize("dtype", [torch.int64, torch.complex64, torch.float8_e4m3fn, "float64", 64])
def test_a_dtype_that_is_none(dtype: Any) -> None:
    for measure in ("plane", "line", "modality plane", "trajectory", "lpf", "gap", "eigenvalues"):
        with pytest.raises((TypeError, ValueError), match=r"dtype must be a (torch.dtype|floating dtype of 16 bits)"):
            MEASURES[measure](loss_in(torch.float32), dtype=dtype)


class Mixed(nn.Module):
    """A body in bfloat16, a head in float32."""

    def __init__(self, by_name: bool = False) -> None:
        super().__init__()
        self.body, self.head, self.by_name = nn.Linear(6, 8).bfloat16(), nn.Linear(8, 3), by_name

    def forward(self, x: Tensor) -> Tensor:
        x = x.to(torch.bfloat16 if self.by_name else self.body.weight.dtype)
        return self.head(F.gelu(self.body(x)).float())


def test_a_net_in_two_dtypes() -> None:
    torch.manual_seed(0)
    mixed = Mixed()
    loss = Loss.from_module(mixed, batch())
    with pytest.warns(UserWarning, match="is in bfloat16, .* looked at in float32"):
        found = landscape.plane(loss, points=3)
    np.testing.assert_allclose(found, landscape.plane(Loss.from_module(mixed.float(), batch()), points=3), rtol=1e-6)
    with (
        pytest.raises(ValueError, match=r"cannot be evaluated in float32: .* let casts follow the parameters"),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        landscape.plane(Loss.from_module(Mixed(by_name=True), batch()), points=3)


def test_complex_buffers_stay_complex() -> None:
    class Rotary(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(6, 6)
            self.register_buffer("turn", torch.polar(torch.ones(3), torch.arange(3.0)))

        def forward(self, x: Tensor) -> Tensor:
            pairs = torch.view_as_complex(self.layer(x).view(len(x), 3, 2))
            return torch.view_as_real(pairs * self.turn).flatten(1)[:, :3]

    torch.manual_seed(0)
    loss = Loss.from_module(Rotary(), batch())
    found = landscape.plane(loss, points=3, dtype=torch.float64)
    np.testing.assert_allclose(found, landscape.plane(loss, points=3), rtol=1e-5)
    xl.curvature.top_eigenvalues(loss, k=1, dtype=torch.float64)


def test_a_criterion_with_weights_follows() -> None:
    x, y = batch()
    loss = Loss.from_module(net(), (x, y), nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 3.0])))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*not a mean over the rows")
        found = landscape.line(loss, points=3, dtype=torch.float64)
        np.testing.assert_allclose(found, landscape.line(loss, points=3), rtol=1e-5)


# -- what trains and scores ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", HALF)
def test_a_half_net_is_trained_and_scored_in_float32(dtype: torch.dtype) -> None:
    dataset = toy(24)
    start = xl.LateFusion.for_dataset(dataset, architecture="mlp").to(dtype)
    with pytest.warns(UserWarning, match="LateFusion is in .* looked at in float32"):
        run = xl.fit(start, dataset, epochs=2)
    assert {p.dtype for p in run.model.parameters()} == {torch.float32}
    assert {p.dtype for p in start.parameters()} == {dtype}
    expected = xl.fit(start.float(), dataset, epochs=2)
    np.testing.assert_allclose(run.history["loss"], expected.history["loss"], rtol=1e-6)
    half, samples = run.model.to(dtype), dataset.test.to(dtype=dtype)
    single, rounded = copy.deepcopy(half).float(), samples.to(dtype=torch.float32)
    for given in (samples, rounded):
        measures: list[Callable[[nn.Module, Any], Any]] = [
            lambda model, rows: xl.robustness.pgd(model, rows, "image", eps=0.1, iterations=3).adversarial_loss,
            lambda model, rows: xl.robustness.evaluate_under(model, rows).loss,
            lambda model, rows: xl.training.evaluate(model, rows)[0],
        ]
        for measure in measures:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message=".*looked at in float32")
                assert measure(half, given) == measure(single, rounded)


@pytest.mark.parametrize("dtype", HALF)
def test_heads_on_half_embeddings_start_from_factors_in_float32(dtype: torch.dtype) -> None:
    from xmodal_lab.papers import uml

    g = torch.Generator().manual_seed(0)
    x, y = torch.randn(30, 8, generator=g), torch.arange(30) % 3
    data = uml.unpaired({"image": (x.to(dtype), y)}, test={"image": (x.to(dtype), y)})
    same = uml.unpaired({"image": (x.to(dtype).float(), y)}, test={"image": (x.to(dtype).float(), y)})
    assert torch.equal(data.train["image"][0], same.train["image"][0])
    assert data.train["image"][0].dtype == torch.float32


# -- what a caller has set -----------------------------------------------------------------------------------


@pytest.mark.parametrize("measure", MEASURES)
def test_autocast_stays_outside(measure: str) -> None:
    expected = MEASURES[measure](loss_in(torch.float32))
    with torch.autocast("cpu", torch.bfloat16):
        found = MEASURES[measure](loss_in(torch.float32))
    np.testing.assert_array_equal(found, expected)


def settings() -> dict[str, Any]:
    b: Any = torch.backends
    found = {"matmul": torch.get_float32_matmul_precision(), "cudnn": b.cudnn.allow_tf32}
    if hasattr(b, "fp32_precision"):
        owners = {"all": b, "conv": b.cudnn.conv, "rnn": b.cudnn.rnn, "product": b.cuda.matmul, "cpu": b.mkldnn.matmul}
        found |= {name: owner.fp32_precision for name, owner in owners.items()}
    return found


@pytest.fixture
def rounded() -> Iterator[dict[str, Any]]:
    """Products of float32 rounded to ten bits or fewer."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    yield settings()
    torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize("measure", MEASURES)
def test_no_products_are_rounded_inside(measure: str, rounded: dict[str, Any]) -> None:
    assert rounded["matmul"] == "medium" and rounded["cudnn"]
    seen: list[dict[str, Any]] = []

    class Seeing(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(settings())
            return x

    module = net()
    loss = Loss.from_module(nn.Sequential(*module, Seeing()), batch())
    seen.clear()
    MEASURES[measure](loss)
    assert seen
    assert all(s["matmul"] == "highest" and not s["cudnn"] for s in seen)
    assert not any({"tf32", "bf16"} & {v for v in s.values() if isinstance(v, str)} for s in seen)
    assert settings() == rounded


def test_attacks_scores_and_values_round_no_products_either(rounded: dict[str, Any]) -> None:
    seen: list[dict[str, Any]] = []

    class Seeing(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(settings())
            return x

    module, given = nn.Sequential(*net(), Seeing()), batch()
    loss = Loss.from_module(module, given)
    looks: list[Callable[[], Any]] = [
        lambda: xl.robustness.pgd(module, given, "input", eps=0.1, iterations=2),
        lambda: xl.robustness.evaluate_under(module, given),
        loss.value,
        lambda: loss.many({name: p[None] for name, p in loss.params.items()}),
    ]
    for look in looks:
        seen.clear()
        look()
        assert seen and all(s["matmul"] == "highest" and not s["cudnn"] for s in seen)
    assert settings() == rounded


def test_the_settings_come_back_after_an_error_and_the_last_thread(rounded: dict[str, Any]) -> None:
    with pytest.raises(KeyError), full_precision(), full_precision():
        assert settings() != rounded
        raise KeyError
    assert settings() == rounded
    inside, leave = threading.Event(), threading.Event()

    def stay() -> None:
        with full_precision():
            inside.set()
            leave.wait(60)

    thread = threading.Thread(target=stay)
    thread.start()
    inside.wait(60)
    with full_precision():
        pass
    assert settings()["matmul"] == "highest"  # the other one is still at work
    leave.set()
    thread.join()
    assert settings() == rounded


def test_ctrl_c_at_any_line_leaves_nothing_switched_off(rounded: dict[str, Any]) -> None:
    def visit() -> None:
        with full_precision():
            pass

    with harm.Interrupt() as counted:
        visit()
    assert counted.lines > 10
    kept = []
    for line in range(1, counted.lines + 1):
        try:
            with harm.Interrupt(line):
                visit()
        except KeyboardInterrupt as error:
            kept.append(error)  # as a notebook does: the frames live on
        with full_precision():
            assert settings()["matmul"] == "highest" and not settings()["cudnn"]
        assert settings() == rounded, f"after Ctrl-C at line {line} of {counted.lines}"
    assert len(kept) > 10


@pytest.mark.skipif(not hasattr(torch.backends, "fp32_precision"), reason="torch's newer names, from 2.9 on")
def test_settings_by_their_newer_names() -> None:
    b: Any = torch.backends
    before = b.mkldnn.matmul.fp32_precision
    b.mkldnn.matmul.fp32_precision = "bf16"
    try:
        with full_precision():
            assert b.mkldnn.matmul.fp32_precision == "ieee"
        assert b.mkldnn.matmul.fp32_precision == "bf16"
    finally:
        b.mkldnn.matmul.fp32_precision = before
