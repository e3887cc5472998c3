"""dml's ledger: all ids are there, every measure runs and gives a verdict, and its rules and controls do what they say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from worlds import toy

import xmodal_lab as xl
from xmodal_lab.claims.claim import Conditions
from xmodal_lab.claims.verdicts import VERDICTS, Measured, controlled, gain
from xmodal_lab.experiments import attacks, looks
from xmodal_lab.papers.dml.claims import arms, gains
from xmodal_lab.papers.dml.claims import flatness as flat
from xmodal_lab.papers.dml.claims import rows as claims
from xmodal_lab.papers.dml.method import retrieval

IDS = "T1 T2 T3 T0 A H H5 LPF G V DA S 3 P I R L"
TRAINED = "T0 A H H5 LPF G V DA S 3 P R L"
NET = {"width": 4, "batch_size": 20, "architecture": "mlp"}


def three(n: int = 60) -> xl.Dataset:
    """The toy world with a third view and short sounds; a training row in four has no image."""
    ds = toy(n=n, classes=4)

    def more(s: xl.Samples, absent: bool) -> xl.Samples:
        text = s.inputs["image"].flatten(1)[:, :6] + 1
        present = {"image": torch.arange(len(s)) % 8 < 6} if absent else {}
        inputs = {"image": s.inputs["image"], "audio": s.inputs["audio"][..., ::2, ::2], "text": text}
        return xl.Samples(inputs, s.labels, present)

    return xl.Dataset("three", more(ds.train, True), more(ds.test, False), ds.classes, val=more(ds.val, False))


@pytest.fixture(scope="module")
def ledger() -> dict[str, Measured]:
    """Every claim, measured on a user's dataset in next to no time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arms, "EPOCHS", {"quick": 4, "full": 4})
        patch.setattr(arms, "EVERYTHING", {**arms.EVERYTHING, "curve": 2, "landscape_points": 3})
        patch.setattr(looks, "SAMPLES", 2)
        patch.setattr(looks, "DIRECTIONS", 2)
        patch.setattr(looks, "RADII", (0.1, 0.5))
        patch.setattr(flat, "NOISE", ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0)))
        patch.setattr(attacks, "BINDING", {**attacks.BINDING, "iterations": 2})
        patch.setattr(retrieval, "pseudo_labels", lambda samples, *_, **__: samples.labels)
        patch.setattr(
            gains, "retrieve", lambda ds, seeds, steps, **a: retrieval.retrieve(ds, seeds, steps=3, batch=16, **a)
        )
        c = Conditions(dataset=three(), seeds=(0, 1))
        return {claim.id: claim.measure(c) for claim in claims.CLAIMS}


def test_every_id_is_there_and_says_where_it_stands() -> None:
    assert [claim.id for claim in claims.CLAIMS] == [f"dml.{name}" for name in IDS.split()]
    assert {claim.id for claim in claims.CLAIMS if claim.trained} == {f"dml.{name}" for name in TRAINED.split()}
    assert all(claim.source.startswith(("Tab", "Fig", "Thm", "App")) for claim in claims.CLAIMS)


@pytest.mark.parametrize("name", IDS.split())
def test_a_verdict_on_a_dataset_of_ones_own(ledger: dict[str, Measured], name: str) -> None:
    m = ledger[f"dml.{name}"]
    assert m.verdict in VERDICTS or m.verdict.startswith("needs ")
    if m.verdict == "needs a pretrained aligned pair":
        assert name == "R" and "floor" in m.note
        return
    assert m.text
    assert m.n >= 2
    assert "nan" not in m.text


def test_exact_claims(ledger: dict[str, Measured]) -> None:
    assert ledger["dml.T1"].verdict == "holds"
    assert ledger["dml.T1"].value < 1e-12
    assert ledger["dml.T2"].verdict == "holds"
    assert ledger["dml.T3"].verdict == "fails", "the two-point shift"
    assert ledger["dml.I"].verdict == "direction holds", "α = 0 does as well"


@pytest.mark.once
def test_claims_of_accuracy_ask_nothing_else_of_a_net() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arms, "EPOCHS", {"quick": 2, "full": 2})
        patch.setattr(looks, "SAMPLES", 2)
        patch.setattr(looks, "DIRECTIONS", 2)
        patch.setattr(looks, "RADII", (0.1, 0.5))
        c = Conditions(dataset=three(), seeds=(0, 1))
        for name in ("dml.A", "dml.DA", "dml.S"):
            next(claim for claim in claims.CLAIMS if claim.id == name).measure(c)
        cubes = [cube for key, cube in c.memory.items() if key.startswith("sweep")]
        assert not any({"landscape", "lambda_max", "drop"} & set(cube.data_vars) for cube in cubes)
        plain, asked = arms.trained(c), arms.arms(c, flatness=True)
        assert all(np.array_equal(plain[k]["accuracy"], asked[k]["accuracy"], equal_nan=True) for k in asked)


@pytest.mark.parametrize("name", ["A", "H", "H5", "LPF", "G", "L", "P"])
def test_each_modality_is_a_step_of_its_own(ledger: dict[str, Measured], name: str) -> None:
    steps = " ".join(step.name for step in ledger[f"dml.{name}"].steps)
    for what in ("SML over image", "SML over audio") if name == "A" else ("SML below image", "SML below audio"):
        assert what in steps


def test_the_row_says_both_stopping_rules_and_both_scalings(ledger: dict[str, Measured]) -> None:
    note = ledger["dml.A"].note
    assert "mean of the last 5 epochs: DML over SML" in note
    assert "With standardised inputs" in note, "the toy's views have a mean and a scale of their own"


def test_printed_effects_are_falls_in_percent_and_rises_are_left_out() -> None:
    four = arms.printed_falls(4, "lambda_max")  # 7.9102, 9.3102, 6.2560, 5.6220
    wanted = {"image": 100 * (1 - 6.256 / 7.9102), "audio": 100 * (1 - 6.256 / 9.3102)}
    assert four == pytest.approx(
        {f"SML below {m}": v for m, v in wanted.items()} | {"DML below SML": 100 * (1 - 5.622 / 6.256)}
    )
    assert set(arms.printed_falls(4, "Delta_LPF")) == {"SML below image", "DML below SML"}, ".0021 rises to .0121"
    drop = arms.printed_falls(12, "drop rate", attacked="j")
    assert drop == pytest.approx({"SML below audio": 100 * (1 - 49 / 51.15), "DML below SML": 100 * (1 - 34.68 / 49)})


def test_where_tab_4_rises_is_said() -> None:
    said = flat.rises("Delta_LPF")
    assert said == "In Tab 4 itself it rises from modality j to SML on AVMNIST, CREMA-D, Kinetics-Sounds."
    assert "from SML to DML on CREMA-D" in flat.rises("lambda_star")
    assert "from modality j to SML on CREMA-D" in flat.rises("lambda_max")


def test_a_fall_is_in_parts_of_what_it_falls_from() -> None:
    found = {"a": xr.Dataset({"x": ("seed", [4.0, 6.0])}), "SML": xr.Dataset({"x": ("seed", [2.0, 2.0])}),
             "DML": xr.Dataset({"x": ("seed", [1.0, 3.0])})}  # fmt: skip
    falls = arms.over_each(found, ["a"], lambda part: part["x"].to_numpy(), less=True)
    np.testing.assert_allclose(falls["SML below a"], [0.4, 0.8])
    np.testing.assert_allclose(falls["DML below SML"], [0.5, -0.5])
    rises = arms.over_each(found, ["a"], lambda part: part["x"].to_numpy())
    np.testing.assert_allclose(rises["SML over a"], [-2, -4])


def test_the_last_epochs_are_those_of_the_curve() -> None:
    curve = np.arange(16.0).reshape(2, 8)
    curve[:, 7] = np.nan  # other members of a sweep train longer
    part = xr.Dataset({"accuracy_curve": (("seed", "epoch"), curve)})
    np.testing.assert_allclose(arms.late(part), [4, 12])


def test_a_floor_is_no_refutation(monkeypatch: pytest.MonkeyPatch) -> None:
    import pandas as pd

    def table(level: float) -> pd.DataFrame:
        better = {"SML": 0.0, "DML": 0.05, "DML, random clusters": 0.0}
        return pd.DataFrame(
            [{"arm": arm, "seed": s, "task": "a → b", "k": 1, "recall": level + up + 0.0001 * s * len(arm)}
             for arm, up in better.items() for s in range(5)]
        )  # fmt: skip

    for level, word in ((0.02, "needs a pretrained aligned pair"), (0.5, "holds")):
        asked: list[tuple[int, tuple[str, ...]]] = []

        def retrieve(_: object, seeds: Any, *, level: float = level, asked: Any = asked, **how: Any) -> pd.DataFrame:
            asked.append((len(seeds), how.get("arms", retrieval.ARMS)))
            return table(level)

        monkeypatch.setattr(gains, "retrieve", retrieve)
        assert gains.retrieval(Conditions(dataset=toy())).verdict == word
        assert asked[0] == (gains.FEW, ("SML",)), "the scale is looked at first, and cheaply"
        assert asked[1:] == ([] if level < gains.FLOOR else [(5, retrieval.ARMS)])


def test_the_map_reads_both_stopping_rules_from_the_same_nets() -> None:
    from xmodal_lab.papers import dml

    small = {"images": 6, "epochs": 6, "seeds": (0, 1), "progress": False, "width": 4}
    found = dml.gain_map((6, 12), (0.0, 1.0), **small)
    assert dict(found.sizes) == {"coverage": 2, "noise": 2, "stop": 2, "seed": 2}
    assert found.coverage.values.tolist() == [1.0, 0.5]
    one = dml.EXPERIMENT.compute({
        "clips_per_class": 12, "audio_noise": 1.0, "alpha": 0.0, "seed": 1, "images_per_class": 6, "epochs": 6,
        "width": 4,
    })  # fmt: skip
    sml = found["sml"].sel(coverage=0.5, noise=1.0, seed=1)
    assert float(sml.sel(stop="best on validation")) == pytest.approx(one["accuracy"], abs=0.01)
    late = float(one["accuracy_curve"][-5:].mean())
    assert float(sml.sel(stop="last 5 epochs")) == pytest.approx(late, abs=0.01)
    np.testing.assert_allclose(found["gain"], found["dml"] - found["sml"])
    with pytest.raises(ValueError, match="clips must be at least 6"):
        dml.gain_map((5,), (0.0,), **small)
    with pytest.raises(ValueError, match="epochs must be at least 5"):
        dml.gain_map((6,), (0.0,), **{**small, "epochs": 4})


def test_the_control_caps_the_verdict() -> None:
    sure, not_sure = gain([0.1, 0.11, 0.12]), gain([0.1, -0.1, 0.0])
    assert controlled(sure, sure, "c").verdict == "holds"
    capped = controlled(sure, not_sure, "the control")
    assert capped.verdict == "direction holds"
    assert "The control: " in capped.note
    assert controlled(not_sure, sure, "c").verdict == not_sure.verdict
    assert controlled(gain([-0.1, -0.11]), not_sure, "c").verdict == "fails"


def test_printed_numbers_are_those_of_the_tables() -> None:
    printed = {claim.id: claim.printed for claim in claims.CLAIMS}
    one, four, nine = (xl.tables("dml", n) for n in (1, 4, 9))
    for value in one[one.dataset == "AVMNIST"].value:
        assert f"{value:.2f}" in printed["dml.A"]
    tops = four[(four.dataset == "AVMNIST") & (four.metric == "lambda_max")].value
    assert all(f"{value:.2f}" in printed["dml.H"] for value in tops)
    stars = four[(four.dataset == "AVMNIST") & (four.metric == "lambda_star")].value
    assert all(f"{value:.2f}" in printed["dml.H5"] for value in stars)
    for value in nine[(nine.dataset == "AVMNIST") & (nine.method != "SML")].value:
        assert f"{value:.2f}" in printed["dml.S"]
    # Ranks of 1.3465, 1.3162, 2.0270, 2.0602 and of 13.94, 6.71, 2.47, 6.46: Σd² = 16 of n = 4.
    assert flat.printed_correlation() == pytest.approx(1 - 6 * 16 / (4 * 15))


def test_lambda_at_equal_loss_is_read_between_checkpoints() -> None:
    loss = np.exp(-np.linspace(0, 4, 9))
    part = xr.Dataset(
        {
            "curve_loss": (("seed", "checkpoint"), [loss, 3 * loss]),
            "curve_lambda": (("seed", "checkpoint"), [loss**2] * 2),
        }
    )
    found = flat.at_equal_loss(part)
    inside = np.isfinite(found)
    assert inside[0, 1:].all()
    np.testing.assert_allclose(found[0, 1:], 2 * np.log(flat.LEVELS[1:]), atol=1e-9)
    assert not inside[0, 0] or found[0, 0] == pytest.approx(0)
    np.testing.assert_allclose(found[1, 1], 2 * np.log(0.5 / 3), atol=1e-9)
    assert np.isnan(found[1, -1]), "never so low"


def test_what_is_missing_is_said() -> None:
    two = toy()
    assert gains.three_modalities(Conditions(dataset=two)).verdict == "needs a dataset with three modalities"
    deaf = xl.Dataset("deaf", *(
        xl.Samples({m: x.flatten(1) for m, x in s.inputs.items()}, s.labels) for s in (two.train, two.test)
    ), two.classes)  # fmt: skip
    assert gains.augmentation(Conditions(dataset=deaf)).verdict == "needs a dataset with images"


def test_a_large_dataset_is_cut_for_the_quick_budget_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arms, "MOST_ROWS", {"train": 30, "val": 20, "test": 20})
    ds = three()
    quick, full = (arms.site(Conditions(dataset=ds, budget=b)) for b in ("quick", "full"))
    assert quick.names == ("image", "audio")
    assert "30 training rows" in quick.note
    assert full.note == ""
    assert len(arms.data(Conditions(dataset=ds, budget="full")).train) == 60


def test_sml_that_sees_everything_takes_as_many_steps() -> None:
    c = Conditions(seeds=(0, 1))
    where = arms.site(c)
    assert arms._rows(where, "complete") == 250
    assert arms._rows(where, "all") == 1600


# -- looks -------------------------------------------------------------------------------------------


def test_looks_are_what_the_instruments_say() -> None:
    ds = three()
    from xmodal_lab.papers.dml import experiment

    asked = {"flatness": True, "curve": 2, "attacks": True, "attack_curve": True, "latents": True}
    mine = experiment(ds, epochs=4, modalities="image+audio", **NET)
    found = mine.compute(asked)
    run = xl.fit(
        xl.LateFusion.for_dataset(ds, ("image", "audio"), "concat_linear", width=4, architecture="mlp"), ds,
        pairing="same_class", epochs=4, batch_size=20, choose="best", snapshots=2,
    )  # fmt: skip
    train, test = xl.loss_on(run.model, ds.train.complete()), xl.loss_on(run.model, ds.test)
    assert found["accuracy"] == run.score
    for i, loss in enumerate((train, test)):
        top = xl.curvature.top_eigenvalues(loss, 5).values
        assert found["lambda_max"][i] == pytest.approx(float(top[0]), rel=2e-2)
        assert found["loss_at"][i] == pytest.approx(loss.value(), rel=1e-5)
    low = xl.flatness.lpf(test, looks.SIGMA["filter"], looks.SAMPLES, noise="filter")
    assert found["lpf_rise"][1, 1] == pytest.approx(low.delta, rel=1e-4, abs=1e-6)
    wide = xl.flatness.gap(train, [10 * r for r in looks.RADII], looks.DIRECTIONS)
    np.testing.assert_allclose(found["gap"][0, 0], wide.values, rtol=1e-4)
    assert found["curve_loss"].checkpoint.values.tolist() == [2, 4]
    net = xl.LateFusion.for_dataset(ds, ("image", "audio"), "concat_linear", width=4, architecture="mlp")
    net.load_state_dict({**net.state_dict(), **run.snapshots[2]})
    assert float(found["curve_loss"][0]) == pytest.approx(xl.loss_on(net, ds.train.complete()).value(), rel=1e-5)
    sd = float(ds.train.inputs["audio"].std())
    attack = xl.robustness.pgd(run.model, ds.test, "audio", 0.2 * sd, 0.05 * sd, 10)
    assert float(found["drop"].sel(attacked="audio", reach="binding")) == pytest.approx(attack.drop_rate, abs=1e-6)
    curve = found["under_attack"]
    assert curve.attacked.values.tolist() == ["image", "audio", "image+audio"]
    assert float(curve.sel(attacked="image", eps=0.0)) == pytest.approx(run.score)
    features = run.model.encode(ds.test.inputs)
    seen = {m: z[z.norm(dim=1) > 0].detach() for m, z in features.items()}
    ratio = float(xl.transport.variance_ratio(seen["image"], seen["audio"]))
    assert float(found["variance_ratio"]) == pytest.approx(ratio, rel=1e-5)
    assert np.isnan(mine.compute({"latents": True, "modalities": "image"})["variance_ratio"])


def test_the_published_attack_is_in_the_range_of_the_inputs() -> None:
    ds = three()
    x = ds.train.inputs["image"][ds.train.present["image"]]
    options = attacks.published(ds, "image")
    assert options["eps"] == pytest.approx(0.1 * float(x.max() - x.min()))
    assert options["step"] * options["iterations"] < options["eps"], "trap: it never binds"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"look_at": "all"}, "unknown look_at"),
        ({"curve": -1}, "curve must be at least 0"),
        ({"landscape_points": 2}, "landscape_points must be at least 3"),
        ({"augment": "fog"}, "unknown augmentation 'fog'"),
        ({"sam": -0.1}, "sam must be at least 0"),
    ],
)
def test_bad_questions(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        xl.sweep("dml", progress=False, **settings)
