from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close
from worlds import toy

import xmodal_lab as xl
from xmodal_lab.data.pairing import MODES, Pairing
from xmodal_lab.training import DivergedError, stacking, stacks
from xmodal_lab.training.stacking import fit_stack

FUSIONS = ("additive", "concat_linear", "concat_mlp", "cross_attention")
# One value per member: everything that may differ.
EACH = {
    "pairing": ["fixed", "same_class", "shuffled", "noisy"],
    "share": [1.0, 0.5, 0.3, 1.0],
    "lr": [1e-3, 1e-2, 1e-3, 3e-3],
    "weight_decay": [0.0, 1e-4, 1e-2, 1e-4],
    "seed": [0, 1, 2, 1],
}


def nets(ds: xl.Dataset, modalities: list, fusion: str = "concat_mlp", **options: object) -> list[xl.LateFusion]:
    options = {"architecture": "mlp", "width": 8, **options}
    made = [xl.LateFusion.for_dataset(ds, m, fusion, seed=k, **options) for k, m in enumerate(modalities)]
    return [net.to(ds.train.inputs["image"].dtype) for net in made]


def assert_same_run(stacked: object, alone: xl.Run, **tolerance: float) -> None:
    assert isinstance(stacked, xl.Run)
    columns = [c for c in alone.history.columns if c != "seconds"]
    assert list(stacked.history.columns) == list(alone.history.columns)
    assert stacked.settings == alone.settings
    assert not stacked.model.training
    assert_close(dict(stacked.model.state_dict()), dict(alone.model.state_dict()), **tolerance)
    mine, theirs = (torch.tensor(r.history[columns].to_numpy()) for r in (stacked, alone))
    assert_close(mine, theirs, **tolerance)
    assert stacked.score == pytest.approx(alone.score, abs=tolerance["atol"])
    assert list(stacked.snapshots) == list(alone.snapshots)
    for epoch, params in alone.snapshots.items():
        assert_close(stacked.snapshots[epoch], params, **tolerance)


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("choose", ["last", "best"])
def test_a_member_is_the_fit_of_its_settings(fusion: str, choose: str) -> None:
    ds = toy().to(dtype=torch.float64)
    shared = {"epochs": 5, "batch_size": 16, "choose": choose, "snapshots": 2}
    starts = nets(ds, [None] * 4, fusion)
    before = [{k: p.clone() for k, p in net.state_dict().items()} for net in starts]
    for k, run in enumerate(fit_stack(starts, ds, **EACH, **shared)):
        alone = xl.fit(starts[k], ds, **{name: values[k] for name, values in EACH.items()}, **shared)
        assert_same_run(run, alone, rtol=1e-10, atol=1e-10)
    for net, was in zip(starts, before, strict=True):
        assert_close(dict(net.state_dict()), was, rtol=0, atol=0)


@pytest.mark.parametrize("fusion", FUSIONS[:3])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_members_that_see_different_modalities_train_together(fusion: str, optimizer: str) -> None:
    ds = toy().to(dtype=torch.float64)
    shared = {"epochs": 4, "batch_size": 16, "optimizer": optimizer}
    starts = nets(ds, ["image", "audio", None, ("image", "audio")], fusion)
    assert stacks.why_not_products(starts) is None
    for k, run in enumerate(fit_stack(starts, ds, **EACH, **shared)):
        alone = xl.fit(starts[k], ds, **{name: values[k] for name, values in EACH.items()}, **shared)
        assert_same_run(run, alone, rtol=1e-10, atol=1e-10)


def test_the_general_way_equals_the_products_and_takes_cnns() -> None:
    ds = toy(n=30).to(dtype=torch.float64)
    starts = nets(ds, [None, None])
    stack = stacks.MappedStack(starts)
    products = stacks.ProductStack(starts, ds.modalities)
    batch = {m: x[:12].unflatten(0, (2, 6)) for m, x in ds.train.inputs.items()}
    labels = ds.train.labels[:12].view(2, 6)
    losses, outputs, gradients = stack.gradients(batch, labels)
    flat = {m: x.flatten(2) for m, x in batch.items()}
    losses_2, outputs_2, gradients_2 = products.gradients(flat, labels)
    assert_close((losses, outputs), (losses_2, outputs_2))
    for name, g in gradients.items():
        assert g.is_contiguous()
        assert gradients_2[name].is_contiguous()
        assert_close(g, gradients_2[name].transpose(-1, -2) if g.ndim > 2 else gradients_2[name])
    cnns = nets(ds, [None, None], "concat_linear", architecture="cnn")
    for k, run in enumerate(fit_stack(cnns, ds, epochs=2, pairing="same_class", seed=[3, 4])):
        alone = xl.fit(cnns[k], ds, epochs=2, pairing="same_class", seed=[3, 4][k])
        assert_same_run(run, alone, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("choose", ["last", pytest.param("best", marks=pytest.mark.slow)])
@pytest.mark.parametrize("options", [
    {"label_smoothing": 0.1}, {"sam": 0.05}, {"swa": 0.5}, {"augment": "jitter+crop+flip+time_mask+frequency_mask"},
    {"label_smoothing": 0.2, "sam": 0.1, "swa": 0.3, "augment": "flip"},
])  # fmt: skip
def test_ways_of_training_are_those_of_fit(options: dict, choose: str) -> None:
    ds = toy(n=30).to(dtype=torch.float64)
    shared = {"epochs": 4, "batch_size": 16, "choose": choose, "lr": 0.01, **options}
    mixed = nets(ds, [None, "image", ("image", "audio"), "audio"], "concat_linear")
    mapped = nets(ds, [None, None], "cross_attention")
    assert stacks.why_not_products(mapped) is not None
    for starts in (mixed, mapped):
        seeds = list(range(len(starts)))
        for k, run in enumerate(fit_stack(starts, ds, pairing="same_class", seed=seeds, **shared)):
            assert_same_run(run, xl.fit(starts[k], ds, pairing="same_class", seed=k, **shared), rtol=1e-9, atol=1e-9)


def test_float32_agrees_loosely() -> None:
    ds = toy()
    starts = nets(ds, [None] * 3)
    for k, run in enumerate(fit_stack(starts, ds, epochs=3, pairing="same_class", seed=[0, 1, 2])):
        alone = xl.fit(starts[k], ds, epochs=3, pairing="same_class", seed=k)
        assert_close(dict(run.model.state_dict()), dict(alone.model.state_dict()), rtol=1e-2, atol=2e-3)
        assert run.history["loss"].tolist() == pytest.approx(alone.history["loss"].tolist(), rel=1e-4)


def test_rows_that_lack_a_modality() -> None:
    ds = toy(absent=True).to(dtype=torch.float64)
    starts = nets(ds, [None, None])
    both = [Pairing("same_class", 0.5, rows="all"), Pairing("fixed", rows="all")]
    for k, run in enumerate(fit_stack(starts, ds, epochs=3, pairing=both)):
        assert_same_run(run, xl.fit(starts[k], ds, epochs=3, pairing=both[k]), rtol=1e-10, atol=1e-10)
    with pytest.raises(ValueError, match="epochs of one length, these have 30 and 60 rows"):
        fit_stack(nets(ds, ["image", "audio"]), ds, epochs=1, pairing=both)


def test_held_out_rows_that_lack_a_modality_count_for_those_who_see_them() -> None:
    full, half = toy().to(dtype=torch.float64), toy(absent=True).to(dtype=torch.float64)
    ds = xl.Dataset("uneven", full.train, half.train, full.classes)
    starts = nets(ds, ["audio", None, "image"])
    for k, run in enumerate(fit_stack(starts, ds, epochs=2)):
        assert_same_run(run, xl.fit(starts[k], ds, epochs=2), rtol=1e-10, atol=1e-10)


def test_regression() -> None:
    ds = toy().to(dtype=torch.float64)

    def real(s: xl.Samples) -> xl.Samples:
        return xl.Samples(s.inputs, s.inputs["image"].mean((1, 2, 3)))

    targets = xl.Dataset("real", real(ds.train), real(ds.test))
    starts = nets(targets, [None, None])
    for k, run in enumerate(fit_stack(starts, targets, epochs=3, seed=[0, 1])):
        assert_same_run(run, xl.fit(starts[k], targets, epochs=3, seed=k), rtol=1e-10, atol=1e-10)


def test_one_member_that_diverges_leaves_the_others_alone() -> None:
    ds = toy().to(dtype=torch.float64)
    starts = nets(ds, [None] * 3)
    fine, broken, also = fit_stack(starts, ds, epochs=4, optimizer="sgd", lr=[0.01, 1e200, 0.02])
    assert isinstance(broken, DivergedError)
    with pytest.raises(DivergedError) as alone:
        xl.fit(starts[1], ds, epochs=4, optimizer="sgd", lr=1e200)
    assert str(broken) == str(alone.value)
    assert_same_run(fine, xl.fit(starts[0], ds, epochs=4, optimizer="sgd", lr=0.01), rtol=1e-10, atol=1e-10)
    assert_same_run(also, xl.fit(starts[2], ds, epochs=4, optimizer="sgd", lr=0.02), rtol=1e-10, atol=1e-10)
    rows: list[dict[str, float]] = []
    assert fit_stack(starts[:1], ds, epochs=9, optimizer="sgd", lr=1e200, on_epoch=rows.append)[0]
    assert len(rows) < 9
    assert math.isnan(rows[-1]["loss"])


@settings(max_examples=10, deadline=None)
@given(
    members=st.lists(
        st.tuples(
            st.sampled_from(MODES), st.floats(0, 1), st.integers(0, 99), st.sampled_from(["image", "audio", None])
        ),
        min_size=1,
        max_size=4,
    ),
    batch_size=st.integers(1, 80),
)
def test_any_stack_is_its_members(members: list, batch_size: int) -> None:
    ds = toy(n=24).to(dtype=torch.float64)
    starts = nets(ds, [m for *_, m in members])
    plans = [Pairing(mode, share) for mode, share, *_ in members]
    seeds = [seed for _, _, seed, _ in members]
    stacked = fit_stack(starts, ds, epochs=2, batch_size=batch_size, pairing=plans, seed=seeds)
    for net, plan, seed, run in zip(starts, plans, seeds, stacked, strict=True):
        alone = xl.fit(net, ds, epochs=2, batch_size=batch_size, pairing=plan, seed=seed)
        assert_same_run(run, alone, rtol=1e-9, atol=1e-9)


def test_what_pays_on_a_cpu() -> None:
    ds = toy()
    assert stacking.pays(nets(ds, [None])[0], "cpu")
    assert stacking.pays(nets(ds, [None], "cross_attention")[0], "cpu")
    assert not stacking.pays(nets(ds, [None], architecture="cnn")[0], "cpu")
    assert not stacking.pays(nets(ds, [None], width=1024)[0], "cpu")
    assert not stacking.pays(nets(ds, [None], "cross_attention", width=512)[0], "cpu")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"lr": [1e-3]}, "lr has 1 values for 2 nets"),
        ({"epochs": [1, 2]}, "epochs must be the same for all members of a stack; per member: pairing"),
        ({"learning_rate": 1}, "unknown setting 'learning_rate'"),
        ({"pairing": ["fixed", "same"]}, "unknown pairing 'same'"),
        ({"lr": [1e-3, 0]}, "lr must be above 0"),
    ],
)
def test_bad_settings_are_refused_before_training(change: dict, message: str) -> None:
    ds = toy()
    with pytest.raises(ValueError, match=message):
        fit_stack(nets(ds, [None, None]), ds, on_epoch=lambda row: pytest.fail("trained"), **change)


def test_nets_that_cannot_be_stacked_say_why() -> None:
    ds = toy()
    with pytest.raises(ValueError, match="at least one net"):
        fit_stack([], ds)
    with pytest.raises(ValueError, match="needs a validation split"):
        fit_stack(nets(ds, [None]), xl.Dataset("d", ds.train, ds.test, ds.classes), choose="best")
    with pytest.raises(ValueError, match="differ in shape"):
        fit_stack([*nets(ds, [None]), *nets(ds, [None], width=16)], ds)
    with pytest.raises(ValueError, match="BatchNorm"):
        fit_stack(nets(ds, [None, None], architecture="cnn", norm="batch"), ds)
    frozen = nets(ds, [None, None])
    frozen[1].head.weight.requires_grad_(False)
    with pytest.raises(ValueError, match="frozen"):
        fit_stack(frozen, ds)
    tied = nets(ds, [None, None], "additive")
    for net in tied:
        net.head.weight = net.encoders["image"][3].weight
    assert "shared" in str(stacks.why_not_products(tied))
    assert "no LateFusion" in str(stacks.why_not_products([torch.nn.Linear(2, 2)]))
    dropout = [torch.nn.Sequential(torch.nn.Dropout(), torch.nn.Linear(2, 2)) for _ in range(2)]
    assert "dropout" in str(stacks.why_not_mapped(dropout))
    odd = nets(ds, [None])[0]
    odd.head = torch.nn.Linear(8, 3, bias=False)
    assert "without bias" in str(stacks.why_not_products([odd]))
    odd.head = torch.nn.Sequential(torch.nn.Linear(8, 3), torch.nn.Tanh())
    assert "a Tanh" in str(stacks.why_not_products([odd]))
    mixed = [*nets(ds, [None]), *nets(ds, [None], "additive")]
    assert "different fusions" in str(stacks.why_not_products(mixed))


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_one_optimizer_with_a_rate_per_member_steps_as_one_per_member(optimizer: str) -> None:
    from xmodal_lab.training import Options
    from xmodal_lab.training.member_steps import MemberStepper

    draw = torch.Generator().manual_seed(0)
    asked = [Options(optimizer=optimizer, lr=lr, weight_decay=wd) for lr, wd in ((1e-1, 0.0), (1e-3, 0.3), (1e-2, 0.1))]
    start = [torch.randn(3, 4, 5, generator=draw), torch.randn(3, 6, generator=draw)]
    together, alone = [p.clone() for p in start], [[p[k].clone() for p in start] for k in range(3)]
    stepper = MemberStepper(together, asked, torch.device("cpu"))
    steppers = [o.stepper(own, torch.device("cpu")) for o, own in zip(asked, alone, strict=True)]
    for _ in range(20):
        gradients = [torch.randn(p.shape, generator=draw) for p in start]
        for i, p in enumerate(together):
            p.grad = gradients[i].clone()
            for k in range(3):
                alone[k][i].grad = gradients[i][k].clone()
        for each in (stepper, *steppers):
            each.step()
    for i, p in enumerate(together):
        torch.testing.assert_close(p, torch.stack([own[i] for own in alone]), rtol=1e-5, atol=1e-6)


def test_members_that_are_augmented_at_once_draw_what_each_draws_alone() -> None:
    from xmodal_lab.data.augmentation import augmentation

    kinds, shapes = {"image": "image", "audio": "audio"}, {"image": (3, 8, 8), "audio": (1, 8, 8)}
    change = augmentation("jitter+crop+flip+time_mask+frequency_mask", kinds, shapes)
    assert change is not None
    draw = torch.Generator().manual_seed(0)
    rows = {m: torch.randn(4, 5, *shape, generator=draw) for m, shape in shapes.items()}
    seeds = [torch.Generator().manual_seed(k) for k in range(4)]
    together = change({m: x.flatten(0, 1) for m, x in rows.items()}, seeds)
    for k in range(4):
        alone = change({m: x[k] for m, x in rows.items()}, torch.Generator().manual_seed(k))
        for m, x in alone.items():
            torch.testing.assert_close(together[m].view_as(rows[m])[k], x, rtol=0, atol=2e-7)
