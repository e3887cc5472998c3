from __future__ import annotations

import copy
import math
import warnings
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.testing import assert_close
from worlds import toy

import xmodal_lab as xl
from xmodal_lab import robustness as rb
from xmodal_lab.instruments.robustness.balls import LinfBall, rounded_inside

DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


class Linear(nn.Module):
    """Logits that are linear in each modality, so that attacks have closed forms."""

    def __init__(self, shapes: dict[str, int], classes: int = 2, seed: int = 0) -> None:
        super().__init__()
        g = torch.Generator().manual_seed(seed)
        self.modalities = tuple(shapes)
        self.maps = nn.ModuleDict({m: nn.Linear(d, classes) for m, d in shapes.items()})
        for p in self.parameters():
            p.data = 0.5 * torch.randn(p.shape, generator=g, dtype=torch.float64)

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        return torch.stack([f(inputs[m].flatten(1)) for m, f in self.maps.items()]).sum(0)


def pair(n: int = 40, classes: int = 2, seed: int = 1, dtype: torch.dtype = torch.float64) -> xl.Samples:
    g = torch.Generator().manual_seed(seed)
    inputs = {
        "image": torch.rand(n, 1, 3, 4, generator=g, dtype=torch.float64).to(dtype),
        "audio": torch.randn(n, 5, generator=g, dtype=torch.float64).to(dtype),
    }
    return xl.Samples(inputs, torch.arange(n) % classes)


def linear(**options: int) -> Linear:
    return Linear({"image": 12, "audio": 5}, **options).double()


def trained(epochs: int = 8) -> tuple[xl.LateFusion, xl.Dataset]:
    ds = toy(n=60)
    return xl.fit(xl.LateFusion.for_dataset(ds, architecture="mlp", width=8), ds, epochs=epochs, lr=1e-2).model, ds


def state_of(model: nn.Module) -> list[object]:
    return [
        *(t.clone() for t in model.state_dict().values()),
        *(p.grad for p in model.parameters()),
        *(p.requires_grad for p in model.parameters()),
        *(m.training for m in model.modules()),
    ]


def assert_untouched(model: nn.Module, before: list[object]) -> None:
    for now, then in zip(state_of(model), before, strict=True):
        if isinstance(then, Tensor) and isinstance(now, Tensor):
            assert torch.equal(now, then)
        else:
            assert now is then


# -- PGD: closed forms on a linear model -----------------------------------------------------------


def uphill(model: Linear, m: str, labels: Tensor) -> Tensor:
    """Rows of the direction in which the margin falls: w_other - w_label."""
    w = model.maps[m].weight.detach()
    return w[1 - labels] - w[labels]


def margins(model: Linear, samples: xl.Samples) -> Tensor:
    logits = model(samples.inputs).detach()
    return (logits[:, 0] - logits[:, 1]) * (1 - 2 * samples.labels)


@pytest.mark.parametrize("m", ["image", "audio"])
def test_linf_attack_of_a_linear_model_has_its_closed_form(m: str) -> None:
    model, samples, eps = linear(), pair(), 0.07
    attack = rb.pgd(model, samples, m, eps=eps, iterations=4)
    away = uphill(model, m, samples.labels)
    assert_close(attack.inputs[m].flatten(1), samples.inputs[m].flatten(1) + eps * away.sign(), atol=1e-15, rtol=0)
    worse = margins(model, samples) - eps * away.abs().sum(1)
    assert attack.adversarial_loss == pytest.approx(float(nn.functional.softplus(-worse).mean()), rel=1e-12)
    assert attack.adversarial_accuracy == float((worse > 0).double().mean())
    assert attack.clean_accuracy == float((margins(model, samples) > 0).double().mean())
    other = "audio" if m == "image" else "image"
    assert attack.inputs[other] is samples.inputs[other]


@pytest.mark.parametrize("m", ["image", "audio"])
def test_l2_attack_of_a_linear_model_has_its_closed_form(m: str) -> None:
    model, samples, eps = linear(), pair(), 0.2
    attack = rb.pgd(model, samples, m, eps=eps, iterations=3, norm="l2")
    away = uphill(model, m, samples.labels)
    unit = away / away.norm(dim=1, keepdim=True)
    assert_close(attack.inputs[m].flatten(1), samples.inputs[m].flatten(1) + eps * unit, atol=1e-13, rtol=0)
    worse = margins(model, samples) - eps * away.norm(dim=1)
    assert attack.adversarial_loss == pytest.approx(float(nn.functional.softplus(-worse).mean()), rel=1e-12)
    assert attack.max_perturbation == pytest.approx(eps, rel=1e-12)
    assert attack.max_perturbation <= eps


@pytest.mark.parametrize("eps", [0.07, 0.1, 1 / 3])
def test_a_difference_in_single_precision_is_no_more_than_eps_either(eps: float) -> None:
    x = torch.cat([torch.zeros(1, 50), torch.rand(3, 50, generator=torch.Generator().manual_seed(0))])
    ball = LinfBall(x, torch.ones(4, dtype=torch.bool), eps, step=2 * eps)
    for gradient in (x + 1, -x - 1):
        assert 0.999 * eps < float((ball.ascend(x, gradient) - x).abs().max()) <= eps


def test_a_joint_attack_has_one_ball_per_modality_and_adds_up() -> None:
    model, samples = linear(), pair()
    eps = {"image": 0.05, "audio": 0.3}
    attack = rb.pgd(model, samples, ("image", "audio"), eps=eps, iterations=2)
    fall = sum(eps[m] * uphill(model, m, samples.labels).abs().sum(1) for m in eps)
    worse = margins(model, samples) - fall
    assert attack.adversarial_loss == pytest.approx(float(nn.functional.softplus(-worse).mean()), rel=1e-12)
    assert dict(attack.perturbation) == {m: pytest.approx(e) for m, e in eps.items()}
    assert attack.max_perturbation == attack.perturbation["audio"]
    assert attack.reach == 0.3


def test_rates_are_those_of_the_paper() -> None:
    attack = rb.pgd(linear(), pair(), "image", eps=0.2)
    clean, perturbed = attack.clean_accuracy, attack.adversarial_accuracy
    assert perturbed < clean
    assert attack.drop == clean - perturbed
    assert attack.drop_rate == pytest.approx(1 - perturbed / clean)
    assert not math.isnan(attack.drop_rate)


def test_drop_rate_without_any_right_answer_is_nan() -> None:
    samples = pair()
    wrong = (margins(linear(), samples) < 0).nonzero().flatten()
    attack = rb.pgd(linear(), samples.subset(wrong), "image", eps=0.1)
    assert attack.clean_accuracy == 0.0
    assert math.isnan(attack.drop_rate)


def test_a_real_valued_label_climbs_the_squared_error() -> None:
    g = torch.Generator().manual_seed(0)
    samples = pair()
    samples = xl.Samples(samples.inputs, torch.randn(len(samples), generator=g, dtype=torch.float64))
    model = linear(classes=1)
    before = model(samples.inputs).detach().flatten() - samples.labels
    attack = rb.pgd(model, samples, "image", eps=0.1)
    after = before.abs() + 0.1 * model.maps["image"].weight.detach().abs().sum()
    assert attack.adversarial_loss == pytest.approx(float(after.square().mean()), rel=1e-12)
    assert attack.clean_accuracy == -attack.clean_loss


def test_own_criterion_is_climbed() -> None:
    model, samples = linear(), pair()
    attack = rb.pgd(model, samples, "audio", eps=0.1, criterion=lambda out, labels: out[:, 0].sum())
    up = 0.1 * model.maps["audio"].weight[0].detach().sign()
    assert_close(attack.inputs["audio"], samples.inputs["audio"] + up, atol=1e-15, rtol=0)


def test_a_step_that_is_too_short_reaches_so_far_and_warns() -> None:
    model, samples = linear(), pair()
    with pytest.warns(UserWarning, match=r"eps=0\.1 never binds for 'image': 5 steps of 0\.001 move it by 0\.005"):
        attack = rb.pgd(model, samples, "image", **rb.PGD_IMAGE)
    assert attack.reach == pytest.approx(0.005)
    assert attack.max_perturbation == pytest.approx(0.005)
    with pytest.warns(UserWarning, match=r"from its random start \(noise of up to 0\.1\)"):
        noisy = rb.pgd(model, samples, "image", **rb.PGD_IMAGE, random_start=True)
    assert 0.09 < noisy.max_perturbation <= 0.1


def test_presets_are_table_11_and_the_spectrogram_binds() -> None:
    assert dict(rb.PGD_IMAGE) == {"eps": 0.1, "step": 0.001, "iterations": 5}
    assert dict(rb.PGD_SPECTROGRAM) == {"eps": 0.005, "step": 0.001, "iterations": 10}
    attack = rb.pgd(linear(), pair(), "audio", **rb.PGD_SPECTROGRAM)
    assert attack.reach == attack.max_perturbation == pytest.approx(0.005)
    rb.pgd(linear(), pair(), "image", eps=0.1, step=0.02, iterations=5)  # 5 · 0.02 binds, whatever it is in binary


# -- PGD: the ball -----------------------------------------------------------------------------------


def exactly_within(moved: Tensor, x: Tensor, eps: float) -> bool:
    values = zip(moved.double().flatten().tolist(), x.double().flatten().tolist(), strict=True)
    return all(abs(Fraction(a) - Fraction(b)) <= Fraction(eps) for a, b in values)


@pytest.mark.filterwarnings("ignore:.*looked at in float32")
@settings(max_examples=60, deadline=None)
@given(
    x=st.lists(st.floats(-1000, 1000, width=32), min_size=4, max_size=4),
    eps=st.floats(1e-9, 100.0),
    dtype=st.sampled_from(DTYPES),
    random_start=st.booleans(),
    seed=st.integers(0, 9),
)
def test_no_value_leaves_the_linf_ball_in_exact_arithmetic(
    x: list[float], eps: float, dtype: torch.dtype, random_start: bool, seed: int
) -> None:
    views = {"image": torch.tensor(x, dtype=torch.float64).view(2, 2).to(dtype)}
    samples = xl.Samples(views, torch.tensor([0, 1]))
    model = Linear({"image": 2}, seed=seed).to(dtype)
    attack = rb.pgd(model, samples, "image", eps=eps, iterations=3, random_start=random_start, seed=seed)
    assert attack.inputs["image"].dtype == torch.promote_types(dtype, torch.float32)  # half precision goes on in it
    assert exactly_within(attack.inputs["image"], samples.inputs["image"], eps)
    assert bool(((attack.inputs["image"] - samples.inputs["image"]).abs() <= eps).all())
    assert attack.max_perturbation <= eps


@pytest.mark.filterwarnings("ignore:.*looked at in float32")
@settings(max_examples=60, deadline=None)
@given(
    x=st.lists(st.floats(-1000, 1000, width=32), min_size=12, max_size=12),
    eps=st.floats(1e-9, 100.0),
    dtype=st.sampled_from(DTYPES),
    random_start=st.booleans(),
    seed=st.integers(0, 9),
)
def test_no_row_leaves_the_l2_ball_in_exact_arithmetic(
    x: list[float], eps: float, dtype: torch.dtype, random_start: bool, seed: int
) -> None:
    views = {"image": torch.tensor(x, dtype=torch.float64).view(2, 6).to(dtype)}
    samples = xl.Samples(views, torch.tensor([0, 1]))
    model = Linear({"image": 6}, seed=seed).to(dtype)
    attack = rb.pgd(model, samples, "image", eps=eps, iterations=3, norm="l2", random_start=random_start, seed=seed)
    for a, b in zip(attack.inputs["image"].tolist(), samples.inputs["image"].tolist(), strict=True):
        assert sum((Fraction(p) - Fraction(q)) ** 2 for p, q in zip(a, b, strict=True)) <= Fraction(eps) ** 2
    away = attack.inputs["image"] - samples.inputs["image"]
    assert bool((away.norm(dim=1) <= eps).all())
    assert attack.max_perturbation <= eps


@settings(max_examples=300, deadline=None)
@given(
    x=st.floats(allow_nan=False, allow_infinity=False, width=32),
    away=st.floats(-1e30, 1e30),
    dtype=st.sampled_from(DTYPES[:2]),
)
def test_rounding_inside_is_exact_and_loses_at_most_one_float(x: float, away: float, dtype: torch.dtype) -> None:
    start = torch.tensor([[x]], dtype=dtype)
    moved = rounded_inside(start, torch.tensor([[away]], dtype=torch.float64))
    gone = Fraction(float(moved)) - Fraction(float(start))
    assert abs(gone) <= abs(Fraction(away))
    assert gone * Fraction(away) >= 0
    further = torch.nextafter(moved, torch.full_like(moved, math.copysign(math.inf, away)))
    if math.isfinite(float(further)) and away:
        assert abs(Fraction(float(further)) - Fraction(float(start))) > abs(Fraction(away))


def test_a_plain_clamp_would_leave_the_ball() -> None:
    """The case that the exact rounding is for: 1 + 0.1 in float32 lies further from 1 than 0.1."""
    x = torch.ones(1, 1)
    plain = x + 0.1
    assert float(plain.double() - x.double()) > 0.1
    assert float(rounded_inside(x, torch.full((1, 1), 0.1, dtype=torch.float64)).double() - x.double()) <= 0.1


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("random_start", [False, True])
def test_clip_holds_beside_the_ball(norm: str, random_start: bool) -> None:
    samples = pair(dtype=torch.float32)
    model = linear().float()
    attack = rb.pgd(model, samples, "image", eps=0.4, norm=norm, clip=(0.0, 1.0), random_start=random_start)
    x = attack.inputs["image"]
    assert 0.0 <= float(x.min()) <= float(x.max()) <= 1.0
    assert attack.max_perturbation <= 0.4


def test_random_starts_fill_the_ball_and_do_not_depend_on_the_batch() -> None:
    samples, model = pair(n=600), linear()
    flat = partial(rb.pgd, model, samples, "audio", eps=1.0, step=1e-9, iterations=1, random_start=True)
    with pytest.warns(UserWarning, match="never binds"):
        cube, again, other, ball = flat(), flat(batch_size=7), flat(seed=1), flat(norm="l2")
    assert torch.equal(cube.inputs["audio"], again.inputs["audio"])
    assert not torch.equal(cube.inputs["audio"], other.inputs["audio"])
    u = (cube.inputs["audio"] - samples.inputs["audio"]).flatten()
    assert float(u.mean()) == pytest.approx(0.0, abs=0.05)
    assert float(u.square().mean()) == pytest.approx(1 / 3, abs=0.03)
    radius = (ball.inputs["audio"] - samples.inputs["audio"]).norm(dim=1)
    assert float(radius.mean()) == pytest.approx(5 / 6, abs=0.02)  # E r = d/(d+1) in d = 5 dimensions


# -- PGD: the model and hard cases -------------------------------------------------------------------


def test_the_model_is_only_looked_at() -> None:
    model, ds = trained(1)
    model.train()
    model.encoders["image"].eval()
    next(model.parameters()).grad = torch.ones_like(next(model.parameters()))
    before = state_of(model)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    inputs = {m: x.clone() for m, x in ds.test.inputs.items()}
    with torch.no_grad():
        attack = rb.pgd(model, ds.test, ("image", "audio"), eps=0.1, random_start=True)
    rb.report(model, ds.test, severities=(3,), attacks={})
    assert torch.equal(torch.rand(3), expected)
    assert_untouched(model, before)
    assert not any(x.requires_grad for x in attack.inputs.values())
    for m, x in ds.test.inputs.items():
        assert torch.equal(x, inputs[m])
        assert not x.requires_grad


def test_dropout_and_batchnorm_are_in_eval_mode() -> None:
    ds = toy()
    net = xl.LateFusion.for_dataset(ds, norm="batch")
    net.head = nn.Sequential(nn.Dropout(0.5), net.head)
    net.train()
    before = state_of(net)
    a, b = (rb.pgd(net, ds.test, "image", eps=0.1, iterations=2) for _ in range(2))
    assert torch.equal(a.inputs["image"], b.inputs["image"])
    assert_untouched(net, before)


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_modality_that_the_model_does_not_use_stays_as_it_is(frozen: bool, norm: str) -> None:
    ds = toy()
    net = xl.LateFusion.for_dataset(ds, modalities="image", architecture="mlp").requires_grad_(not frozen)
    attack = rb.pgd(net, ds.test, "audio", eps=0.5, norm=norm)
    assert torch.equal(attack.inputs["audio"], ds.test.inputs["audio"])
    assert attack.drop == 0.0
    assert attack.max_perturbation == 0.0
    assert attack.blind == 1.0
    assert rb.pgd(net, ds.test, "image", eps=0.5, norm=norm).blind == 0.0


def test_a_model_that_is_sure_of_itself_is_attacked_all_the_same() -> None:
    """Cross-entropy's gradient is 0 in float32 at a margin of 20, which looks like robustness and is none."""
    model, samples = linear().float(), pair(dtype=torch.float32)
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(1e4)
    plain = rb.pgd(model, samples, "image", eps=0.1, criterion=nn.functional.cross_entropy)
    assert plain.blind > 0.3
    for norm in ("linf", "l2"):
        attack = rb.pgd(model, samples, "image", eps=0.1, norm=norm)
        away = uphill(model, "image", samples.labels)
        unit = away.sign() if norm == "linf" else away / away.norm(dim=1, keepdim=True)
        assert attack.blind == 0.0
        assert_close(attack.inputs["image"].flatten(1), samples.inputs["image"].flatten(1) + 0.1 * unit)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_climbed_margin_takes_the_steps_of_cross_entropy(norm: str) -> None:
    model, samples = linear(classes=5).double(), pair(classes=5)
    options = {"eps": 0.5, "step": 0.07, "iterations": 9, "norm": norm}
    ours = rb.pgd(model, samples, "audio", **options)
    plain = rb.pgd(model, samples, "audio", **options, criterion=nn.functional.cross_entropy)
    assert_close(ours.inputs["audio"], plain.inputs["audio"], atol=1e-12, rtol=0)
    assert ours.adversarial_loss > ours.clean_loss


def test_one_class_leaves_nothing_to_confuse() -> None:
    attack = rb.pgd(linear(classes=1), pair(classes=1), "image", eps=0.1)
    assert attack.clean_accuracy == attack.adversarial_accuracy == 1.0
    assert attack.blind == 1.0


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_rows_without_the_modality_keep_lacking_it(norm: str) -> None:
    ds = toy(absent=True)
    net = xl.LateFusion.for_dataset(ds, architecture="mlp")
    attack = rb.pgd(net, ds.train, "image", eps=0.5, norm=norm, random_start=True, clip=(-9, 9))
    gone = ~ds.train.present["image"]
    assert bool((attack.inputs["image"][gone] == 0).all())
    assert bool((attack.inputs["image"][~gone] != ds.train.inputs["image"][~gone]).any())
    assert torch.equal(attack.samples.present["image"], ds.train.present["image"])


def test_one_row_non_contiguous_and_read_only_inputs() -> None:
    array = np.linspace(0, 1, 24).reshape(12, 2)
    array.flags.writeable = False
    samples = xl.Samples({"image": torch.as_tensor(array.copy()).T.view(2, 1, 12), "audio": np.ones((2, 5))}, [0, 1])
    attack = rb.pgd(linear(), samples, "image", eps=0.1, batch_size=1)
    assert attack.max_perturbation == pytest.approx(0.1)
    assert rb.pgd(linear(), samples.subset([0]), "image", eps=0.1).inputs["image"].shape == (1, 1, 12)


def test_pgd_says_what_is_wrong() -> None:
    model, samples = linear(), pair()
    bad = partial(rb.pgd, model, samples)
    with pytest.raises(ValueError, match="unknown modality 'images'; known: 'image', 'audio'"):
        bad("images", eps=0.1)
    with pytest.raises(ValueError, match="eps of 'image' must be above 0"):
        bad("image", eps=0)
    with pytest.raises(ValueError, match="eps of 'image' must be finite"):
        bad("image", eps=math.nan)
    with pytest.raises(ValueError, match="step of 'image' must be above 0"):
        bad("image", eps=0.1, step=-1)
    with pytest.raises(ValueError, match="iterations must be at least 1"):
        bad("image", eps=0.1, iterations=0)
    with pytest.raises(ValueError, match="unknown norm 'l3'; known: 'linf', 'l2'"):
        bad("image", eps=0.1, norm="l3")
    with pytest.raises(ValueError, match="eps is given by modality, but 'audio' is missing"):
        bad(("image", "audio"), eps={"image": 0.1})
    with pytest.raises(ValueError, match="unknown attacked modality in eps 'audio'"):
        bad("image", eps={"image": 0.1, "audio": 0.1})
    with pytest.raises(ValueError, match="outside clip"):
        bad("audio", eps=0.1, clip=(0, 1))
    with pytest.raises(TypeError, match=r"clip must be \(low, high\)"):
        bad("image", eps=0.1, clip=3)
    with pytest.raises(ValueError, match="criterion must return a scalar"):
        bad("image", eps=0.1, criterion=lambda out, labels: out)
    with pytest.raises(TypeError, match=r"model must be a torch\.nn\.Module"):
        rb.pgd(lambda x: x, samples, "image", eps=0.1)
    with pytest.raises(ValueError, match="the batch has no target; it holds image, audio"):
        rb.pgd(model, samples.inputs, "image", eps=0.1)
    with pytest.raises(ValueError, match=r"inputs\['image'\] are torch.float32, the model is torch.float64"):
        rb.pgd(model, samples.to(dtype=torch.float32), "image", eps=0.1)
    unknown = xl.Samples(samples.inputs, torch.where(samples.labels == 0, -1, 1))
    with pytest.raises(ValueError, match=r"some labels are unknown \(-1\)"):
        rb.pgd(model, unknown, "image", eps=0.1)
    with pytest.raises(ValueError, match="label 6 has no logit: the model returns 2"):
        rb.pgd(model, xl.Samples(samples.inputs, samples.labels * 6), "image", eps=0.1)
    broken = copy.deepcopy(model)
    broken.maps["image"].weight.data[0, 0] = math.nan
    with pytest.raises(ValueError, match="outputs are NaN for 40 of 40 rows"):
        rb.pgd(broken, samples, "image", eps=0.1)


def test_a_gradient_that_is_nan_is_named() -> None:
    class Root(nn.Module):
        def forward(self, inputs: dict[str, Tensor]) -> Tensor:
            x = inputs["image"].flatten(1)[:, :2]
            return (x * 0).sqrt() * 0 + x

    with pytest.raises(ValueError, match="gradient of the loss with respect to 'image' is NaN"):
        rb.pgd(Root(), pair(), "image", eps=0.1)


# -- noise and missing rows --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "mean", "sd", "low", "high"),
    [
        ("uniform", 0.0, 3 / math.sqrt(3), -3, 3),
        ("one_sided", 1.5, 3 / math.sqrt(12), 0, 3),
        ("gaussian", 0.0, 3.0, -20, 20),
    ],
)
@pytest.mark.parametrize("relative", [False, True])
def test_noise_has_its_moments(kind: str, mean: float, sd: float, low: float, high: float, relative: bool) -> None:
    g = torch.Generator().manual_seed(0)
    features = {"text": 2.5 + 0.5 * torch.randn(400, 10, 25, generator=g, dtype=torch.float64), "mask": torch.ones(400)}
    unit = float(features["text"].std(correction=0)) if relative else 1.0
    noisy = rb.add_noise(features, "text", 3.0, kind, relative)
    u = (noisy["text"] - features["text"]) / unit
    n = u.numel()
    assert float(u.mean()) == pytest.approx(mean, abs=5 * sd / math.sqrt(n))
    assert float(u.std()) == pytest.approx(sd, rel=5 / math.sqrt(n))
    assert low <= float(u.min()) < float(u.max()) <= high + 1e-9
    assert noisy["mask"] is features["mask"]


def test_noise_is_drawn_by_seed_and_modality() -> None:
    samples = pair()
    both = rb.add_noise(samples, ("image", "audio"), 1.0, seed=4)
    again = rb.add_noise(samples, "audio", 1.0, seed=4)
    other = rb.add_noise(samples, "audio", 1.0, seed=5)
    assert torch.equal(both.inputs["audio"], again.inputs["audio"])
    assert not torch.equal(again.inputs["audio"], other.inputs["audio"])
    assert again.inputs["image"] is samples.inputs["image"]
    assert torch.equal(rb.add_noise(samples, "audio", 0.0).inputs["audio"], samples.inputs["audio"])
    assert torch.equal(both.labels, samples.labels)


def test_noise_leaves_absent_rows_alone_and_takes_its_unit_from_the_others() -> None:
    train = toy(absent=True).train
    here = train.present["image"]
    noisy = rb.add_noise(train, "image", 2.0, "gaussian", relative=True)
    assert bool((noisy.inputs["image"][~here] == 0).all())
    u = (noisy.inputs["image"] - train.inputs["image"])[here]
    assert float(u.std() / train.inputs["image"][here].std()) == pytest.approx(2.0, rel=0.1)


@pytest.mark.parametrize("dtype", DTYPES)
def test_noise_keeps_the_dtype(dtype: torch.dtype) -> None:
    noisy = rb.add_noise({"x": torch.zeros(8, 3, dtype=dtype)}, "x", 1.0)
    assert noisy["x"].dtype == dtype
    assert bool((noisy["x"].abs() <= 1).all())


@given(n=st.integers(1, 60), share=st.floats(0, 1), seed=st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_exactly_the_asked_share_of_rows_goes_missing(n: int, share: float, seed: int) -> None:
    samples = xl.Samples({"image": torch.ones(n, 2), "audio": torch.ones(n, 3)}, torch.zeros(n, dtype=torch.long))
    dropped = rb.drop_modality(samples, "image", share, seed)
    gone = ~dropped.present["image"]
    assert int(gone.sum()) == round(share * n)
    assert bool((dropped.inputs["image"][gone] == 0).all())
    assert bool((dropped.inputs["image"][~gone] == 1).all())
    assert torch.equal(dropped.inputs["audio"], samples.inputs["audio"])
    assert bool(dropped.present["audio"].all())
    more = rb.drop_modality(samples, "image", min(1.0, share + 0.2), seed)
    assert bool((~more.present["image"])[gone].all())
    features = rb.drop_modality({"image": samples.inputs["image"], "n": 1}, "image", share, seed)
    assert torch.equal(features["image"], dropped.inputs["image"])


def test_missing_rows_are_taken_from_those_that_have_the_modality() -> None:
    train = toy(n=60, absent=True).train
    dropped = rb.drop_modality(train, "image", 0.5)
    assert int(dropped.present["image"].sum()) == 15
    assert not bool((dropped.present["image"] & ~train.present["image"]).any())
    both = rb.drop_modality(toy().test, ("image", "audio"), 0.5)
    assert not torch.equal(both.present["image"], both.present["audio"])


def test_noise_and_missing_say_what_is_wrong() -> None:
    samples = pair()
    with pytest.raises(ValueError, match="unknown modality 'text'"):
        rb.add_noise(samples, "text", 1.0)
    with pytest.raises(ValueError, match="amplitude must be at least 0"):
        rb.add_noise(samples, "image", -1.0)
    with pytest.raises(ValueError, match="unknown kind of noise 'pink'; known: 'uniform', 'gaussian', 'one_sided'"):
        rb.add_noise(samples, "image", 1.0, "pink")
    with pytest.raises(ValueError, match="is constant, so its standard deviation"):
        rb.add_noise({"x": torch.ones(3, 2)}, "x", 1.0, relative=True)
    with pytest.raises(ValueError, match="NaN or infinite"):
        rb.add_noise({"x": torch.tensor([[math.nan]])}, "x", 1.0)
    with pytest.raises(ValueError, match="hold values"):
        rb.add_noise({"x": torch.ones(0, 2)}, "x", 1.0)
    with pytest.raises(TypeError, match=r"'x' must be a floating-point tensor, got torch\.int64"):
        rb.add_noise({"x": torch.ones(3, dtype=torch.long)}, "x", 1.0)
    with pytest.raises(TypeError, match="expected Samples or a dict of tensors"):
        rb.add_noise(torch.ones(3), "x", 1.0)
    for share in (-0.1, 1.1):
        with pytest.raises(ValueError, match="share must lie between 0 and 1"):
            rb.drop_modality(samples, "image", share)


# -- corruptions -------------------------------------------------------------------------------------

ALL = [(kind, name) for kind, some in rb.CORRUPTIONS.items() for name in some]


def smooth(n: int = 48, channels: int = 1, side: tuple[int, int] = (32, 32), seed: int = 0) -> Tensor:
    """Random images with a finite correlation length, as photographs and spectrograms have."""
    g = torch.Generator().manual_seed(seed)
    coarse = torch.randn(n, channels, 5, 6, generator=g, dtype=torch.float64)
    return nn.functional.interpolate(coarse, side, mode="bicubic")


def digits() -> Tensor:
    from sklearn.datasets import load_digits

    return torch.as_tensor(load_digits().images[:64])[:, None]


@pytest.mark.parametrize(("kind", "name"), ALL)
@pytest.mark.parametrize("data", ["digits", "wide", "colour"])
def test_a_higher_severity_distorts_more(kind: str, name: str, data: str) -> None:
    x = {"digits": digits, "wide": partial(smooth, side=(24, 40)), "colour": partial(smooth, channels=3)}[data]()
    spoilt = [rb.CORRUPTIONS[kind][name](x, s, seed=3) for s in (1, 2, 3, 4, 5)]
    distortion = [float((y - x).square().mean()) for y in spoilt]
    assert 0 < distortion[0] < distortion[-1]
    assert distortion == sorted(distortion)
    assert all(y.shape == x.shape for y in spoilt)


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_corruptions_keep_dtype_and_input_and_follow_the_seed(kind: str, name: str) -> None:
    x = smooth(n=6, side=(12, 10))
    spoil = rb.CORRUPTIONS[kind][name]
    before = x.clone()
    results = [spoil(x.to(dtype), 2, seed=1) for dtype in DTYPES]
    assert [r.dtype for r in results] == list(DTYPES)
    assert all(bool(torch.isfinite(r).all()) for r in results)
    assert torch.equal(x, before)
    assert torch.equal(spoil(x, 2, seed=1), results[0])
    drawn = name not in ("gaussian_blur", "contrast", "brightness", "pixelate", "low_pass")
    assert torch.equal(spoil(x, 2, seed=2), results[0]) != drawn
    turned = x.transpose(2, 3).contiguous().transpose(2, 3)
    assert_close(spoil(turned, 2, seed=1), results[0])
    assert spoil(x[:1], 5).shape == (1, 1, 12, 10)


def test_blur_is_that_of_scipy() -> None:
    from scipy.ndimage import gaussian_filter

    x, spoil = smooth(n=2), rb.CORRUPTIONS["image"]["gaussian_blur"]
    sigma = spoil.levels[3] * 32
    expected = [gaussian_filter(p[0].numpy(), sigma, mode="nearest", radius=math.ceil(3 * sigma)) for p in x]
    assert_close(spoil(x, 4)[:, 0], torch.as_tensor(np.stack(expected)), atol=1e-10, rtol=0)


def test_rotation_and_translation_are_those_of_scipy() -> None:
    from scipy.ndimage import rotate, shift

    x, turn, move = (
        smooth(n=6, side=(31, 41)),
        rb.CORRUPTIONS["image"]["rotation"],
        rb.CORRUPTIONS["image"]["translation"],
    )
    turned = turn(x, 2)
    ways = set()
    for p, q in zip(x, turned, strict=True):
        errors = [
            np.abs(rotate(p[0].numpy(), a, reshape=False, order=1, mode="nearest") - q[0].numpy()).max()
            for a in (10.0, -10.0)
        ]
        assert min(errors) < 1e-6 < max(errors)
        ways.add(int(np.argmin(errors)))
    assert ways == {0, 1}
    ramp = torch.stack(torch.meshgrid(torch.arange(31.0), torch.arange(41.0), indexing="ij")).double()
    by = move(ramp.repeat(6, 1, 1, 1), 5)[:, :, 15, 20] - ramp[:, 15, 20]  # (down, right), as the sampler moved
    size = torch.tensor([31.0, 41.0], dtype=torch.float64)
    assert_close((by / size).norm(dim=1), torch.full((6,), 0.2, dtype=torch.float64), atol=1e-12, rtol=0)
    for p, q, (down, right) in zip(x, move(x, 5), by.tolist(), strict=True):
        expected = shift(p[0].numpy(), (-down, -right), order=1, mode="nearest")
        assert np.abs(expected - q[0].numpy()).max() < 1e-6


def test_simple_corruptions_do_what_they_say() -> None:
    x = smooth(n=64, channels=2, side=(20, 30))
    sd = float(x.std(correction=0))
    image, audio = rb.CORRUPTIONS["image"], rb.CORRUPTIONS["audio"]
    assert float((image["gaussian_noise"](x, 4) - x).std() / sd) == pytest.approx(1.0, rel=0.02)
    assert_close(image["brightness"](x, 5), x + 1.5 * sd)
    kept = image["contrast"](x, 4)
    assert_close(kept.mean((1, 2, 3)), x.mean((1, 2, 3)))
    assert_close(kept.std((1, 2, 3)), 0.3 * x.std((1, 2, 3)))
    salted = image["salt_and_pepper"](x, 5)
    hit = (salted != x).any(1)
    assert float(hit.double().mean()) == pytest.approx(0.25, abs=0.01)
    assert set(salted[salted != x].tolist()) == {float(x.max()), float(x.min())}
    grey = (image["occlusion"](x, 3) != x).any(1)
    assert float(grey.double().mean()) == pytest.approx(0.16 * 0.8, abs=0.05)  # less: a block may stick out
    assert int(grey.any(2).sum(1).max()) <= 0.4 * 20 + 1
    blocks = image["pixelate"](smooth(n=2, side=(32, 32)), 3)
    assert_close(blocks[:, :, ::2, ::2], blocks[:, :, 1::2, 1::2])
    low = audio["low_pass"](x, 5)
    floor = x.amin((1, 2, 3), keepdim=True)
    assert torch.equal(low[:, :, :5], x[:, :, :5])
    assert torch.equal(low[:, :, 5:], floor.expand_as(low[:, :, 5:]))
    gained = (audio["gain"](x, 4) - x) / sd
    assert_close(gained.abs(), torch.ones_like(x))
    assert gained.flatten(1).std(1).max() < 1e-12
    for name, dim in (("time_mask", 3), ("frequency_mask", 2)):
        gone = (audio[name](x, 5) == floor).all(1)  # (n, bands, frames)
        whole = gone.all(4 - dim)
        assert 1 <= int(whole.sum(1).min()) <= int(whole.sum(1).max()) <= 0.5 * x.shape[dim] + 1


def test_time_shift_moves_frames_and_fills_with_silence() -> None:
    x = smooth(n=8, side=(6, 20))
    moved = rb.CORRUPTIONS["audio"]["time_shift"](x, 3)
    ways = set()
    for p, q in zip(x, moved, strict=True):
        later = torch.cat([torch.full((1, 6, 3), float(p.min()), dtype=p.dtype), p[:, :, :-3]], 2)
        sooner = torch.cat([p[:, :, 3:], torch.full((1, 6, 3), float(p.min()), dtype=p.dtype)], 2)
        assert torch.equal(q, later) or torch.equal(q, sooner)
        ways.add(torch.equal(q, later))
    assert ways == {True, False}


def test_corrupt_takes_samples_and_features_and_leaves_absent_rows_alone() -> None:
    train = toy(absent=True).train
    spoilt = rb.corrupt(train, "image", "brightness", 3)
    here = train.present["image"]
    shift = (spoilt.inputs["image"] - train.inputs["image"])[here]
    assert_close(shift, torch.full_like(shift, 0.75 * float(train.inputs["image"][here].std(correction=0))))
    assert bool((spoilt.inputs["image"][~here] == 0).all())
    features = rb.corrupt({"scan": train.inputs["audio"], "other": None}, "scan", "time_mask", 2, kind="audio")
    assert features["scan"].shape == train.inputs["audio"].shape
    assert features["other"] is None
    assert rb.CORRUPTIONS["image"]["rotation"].unit == "degrees, either way"


def test_corruptions_say_what_is_wrong() -> None:
    samples = toy().test
    for severity in (0, 6):
        with pytest.raises(ValueError, match=f"severity must be 1, 2, 3, 4 or 5, got {severity}"):
            rb.corrupt(samples, "image", "rotation", severity)
    with pytest.raises(TypeError, match="severity must be a whole number"):
        rb.corrupt(samples, "image", "rotation", 2.5)
    with pytest.raises(
        ValueError, match=r"unknown image corruption 'fog'; known: 'gaussian_noise', .*'salt_and_pepper'"
    ):
        rb.corrupt(samples, "image", "fog", 1)
    with pytest.raises(ValueError, match="unknown kind of modality with corruptions 'text'; known: 'image', 'audio'"):
        rb.corrupt(samples, "image", "rotation", 1, kind="text")
    with pytest.raises(ValueError, match=r"must have shape \(N, C, H, W\)"):
        rb.corrupt({"image": torch.ones(3, 4)}, "image", "rotation", 1)
    with pytest.raises(ValueError, match="must have shape"):
        rb.CORRUPTIONS["image"]["rotation"](torch.ones(0, 1, 4, 4), 1)
    with pytest.raises(TypeError, match="must be a floating-point tensor"):
        rb.CORRUPTIONS["image"]["rotation"](torch.ones(2, 1, 4, 4, dtype=torch.uint8), 1)
    with pytest.raises(ValueError, match="NaN or infinite"):
        rb.CORRUPTIONS["image"]["rotation"](torch.full((2, 1, 4, 4), math.inf), 1)
    with pytest.raises(ValueError, match="is constant"):
        rb.CORRUPTIONS["image"]["brightness"](torch.ones(2, 1, 4, 4), 1)
    with pytest.raises(ValueError, match="seed must be at least 0"):
        rb.corrupt(samples, "image", "rotation", 1, seed=-1)


# -- evaluation and report ---------------------------------------------------------------------------


def test_evaluation_agrees_with_training() -> None:
    from xmodal_lab import training

    model, ds = trained()
    clean = rb.evaluate_under(model, ds.test, batch_size=7)
    loss, accuracy = training.evaluate(model, ds.test)
    assert clean.loss == pytest.approx(loss, rel=1e-6)
    assert clean.accuracy == pytest.approx(accuracy, rel=1e-6)
    assert rb.evaluate_under(model, ds.test, where="features") == pytest.approx(clean, rel=1e-6)


def test_spoilt_inputs_and_features_reach_the_model() -> None:
    model, ds = trained()
    spoilt = partial(rb.drop_modality, modality="image", share=1.0)
    empty = xl.Samples({**ds.test.inputs, "image": torch.zeros_like(ds.test.inputs["image"])}, ds.test.labels)
    assert rb.evaluate_under(model, ds.test, spoilt) == rb.evaluate_under(model, empty)
    with torch.no_grad():
        features = model.encode(ds.test.inputs)
        features["image"] = torch.zeros_like(features["image"])
        expected = float((model.classify(features).argmax(1) == ds.test.labels).double().mean())
    assert rb.evaluate_under(model, ds.test, spoilt, where="features", batch_size=9).accuracy == expected


def test_report_has_a_row_for_every_condition() -> None:
    model, ds = trained()
    with pytest.warns(UserWarning, match="eps=0.1 never binds for 'image'"):
        table = rb.report(model, ds.test, where=("inputs", "features"), severities=(2, 5), kinds=ds.kinds)
    assert list(table.columns) == [
        "condition", "modality", "setting", "level", "where", "loss", "accuracy", "drop", "relative_drop",
    ]  # fmt: skip
    assert table["condition"].value_counts().to_dict() == {
        "corruption": 2 * len(ALL), "noise": 4, "missing": 4, "pgd": 2, "clean": 1,
    }  # fmt: skip
    clean = table.iloc[0]
    assert clean["condition"] == "clean"
    assert clean["drop"] == 0.0
    np.testing.assert_allclose(table["drop"], clean["accuracy"] - table["accuracy"])
    np.testing.assert_allclose(table["relative_drop"], table["drop"] / clean["accuracy"])
    one = table[(table["setting"] == "occlusion") & (table["level"] == 5)].iloc[0]
    by_hand = rb.evaluate_under(model, ds.test, lambda s: rb.corrupt(s, "image", "occlusion", 5))
    assert one["accuracy"] == by_hand.accuracy
    assert table.attrs["attacks"]["image"]["reach"] == pytest.approx(0.005)
    assert table.attrs["noise_unit"] == "sd"


def test_report_can_be_narrowed_and_attacks_chosen() -> None:
    model, ds = trained()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = rb.report(
            model, ds.test, noise=(), missing=(0.25, 1.0), corruptions=("rotation", "gain"), severities=(1,),
            attacks={"image": {"eps": 0.3}, ("image", "audio"): {"eps": 0.3}},
        )  # fmt: skip
    assert table["condition"].tolist() == ["clean"] + 4 * ["missing"] + 2 * ["corruption"] + 2 * ["pgd"]
    assert table["modality"].tolist()[-2:] == ["image", "image+audio"]
    attacked = table["loss"].tolist()[-2:]
    assert table["loss"][0] < attacked[0] < attacked[1]
    ear = xl.LateFusion.for_dataset(ds, modalities="audio", architecture="mlp")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # no image, so no preset that never binds
        assert set(rb.report(ear, ds.test, severities=(1,))["modality"]) == {"", "audio"}


def test_evaluation_says_what_is_wrong() -> None:
    model, ds = trained(1)
    with pytest.raises(ValueError, match="unknown place 'logits'; known: 'inputs', 'features'"):
        rb.evaluate_under(model, ds.test, where="logits")
    with pytest.raises(TypeError, match=r"Linear has no encode\(inputs\) and classify\(features\)"):
        rb.evaluate_under(linear(), pair(), where="features")
    with pytest.raises(TypeError, match="transform must return Samples, got dict"):
        rb.evaluate_under(model, ds.test, lambda s: s.inputs)
    with pytest.raises(ValueError, match="transform must keep rows and modalities"):
        rb.evaluate_under(model, ds.test, lambda s: s.subset([0]))
    with pytest.raises(TypeError, match="transform must return a dict of features"):
        rb.evaluate_under(model, ds.test, lambda f: None, where="features")
    with pytest.raises(ValueError, match="must keep the features' names and shapes"):
        rb.evaluate_under(model, ds.test, lambda f: {"image": f["image"]}, where="features")
    with pytest.raises(ValueError, match="unknown corruption of image, audio 'fog'"):
        rb.report(model, ds.test, corruptions=("fog",))
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        rb.evaluate_under(model, ds.test, batch_size=0)
    with pytest.raises(ValueError, match=r"logits of shape \(40, C\), got \(40,\)"):
        flat = linear()
        flat.forward = lambda inputs: inputs["audio"][:, 0]  # type: ignore[method-assign]
        rb.evaluate_under(flat, pair())
    with pytest.raises(TypeError, match="must return a tensor of logits"):
        flat.forward = lambda inputs: inputs  # type: ignore[method-assign]
        rb.evaluate_under(flat, pair())


class AsItIs(xl.LateFusion):
    """The same net, whose forward we know nothing of: every encoder runs in every step."""

    def forward(self, inputs: Any, present: Any = None) -> Tensor:
        return super().forward(inputs, present)


@pytest.mark.parametrize(("attacked", "runs"), [("image", 1), (["image", "audio"], 4)])
def test_pgd_encodes_what_it_leaves_alone_once(attacked: Any, runs: int) -> None:
    ds = toy()
    net = xl.LateFusion.for_dataset(ds, width=8).double()
    same = AsItIs(dict(net.encoders.items()), net.fusion, net.head, net.shapes)
    samples = ds.test.to(dtype=torch.float64)
    slow = rb.pgd(same, samples, attacked, 0.1, iterations=4)
    seen: list[int] = []
    inner = next(part for part in net.encoders["audio"].modules() if not list(part.children()))
    hook = inner.register_forward_hook(lambda *_: seen.append(1))
    quick = rb.pgd(net, samples, attacked, 0.1, iterations=4)
    hook.remove()
    assert len(seen) == runs + 2  # before and after
    for m in net.modalities:
        assert_close(quick.inputs[m], slow.inputs[m], rtol=1e-12, atol=1e-12)
    assert quick.adversarial_loss == pytest.approx(slow.adversarial_loss)
    assert all("forward" not in vars(part) for part in net.encoders.values())
