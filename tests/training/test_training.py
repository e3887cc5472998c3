from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from safetensors import safe_open
from torch.testing import assert_close
from worlds import toy

import xmodal_lab as xl
from xmodal_lab import training
from xmodal_lab.data.pairing import Pairing
from xmodal_lab.training.stacking import fit_stack


def net(ds: xl.Dataset, **options: object) -> xl.LateFusion:
    return xl.LateFusion.for_dataset(ds, architecture="mlp", width=8, **options)


def test_fit_learns_and_reports_and_leaves_the_net_as_it_was() -> None:
    ds = toy(n=120)
    start = net(ds)
    before = {k: p.clone() for k, p in start.state_dict().items()}
    run = xl.fit(start, ds, epochs=15, lr=1e-2)
    for k, p in start.state_dict().items():
        assert torch.equal(p, before[k])
    assert run.history.index.tolist() == list(range(1, 16))
    assert list(run.history.columns) == [
        "loss", "accuracy", "test_loss", "test_accuracy", "val_loss", "val_accuracy", "seconds",
    ]  # fmt: skip
    assert run.history["loss"].iloc[-1] < 0.5 * run.history["loss"].iloc[0]
    assert run.score > 0.7
    assert run.score == pytest.approx(run.history["test_accuracy"].iloc[-1])
    assert not run.model.training
    assert run.settings["pairing"] == "fixed"
    assert repr(run) == f"Run(LateFusion on {ds.name}: 15 epochs, test score {run.score:.3f})"


def test_same_seed_same_run_other_seed_other_run() -> None:
    ds = toy()
    first, again, other = (
        xl.fit(net(ds), ds, epochs=3, pairing="same_class", seed=s).history["loss"].tolist() for s in (0, 0, 1)
    )
    assert first == again
    assert first != other


def test_share_zero_is_sml_and_the_pairing_object_is_taken() -> None:
    ds = toy()
    fixed = xl.fit(net(ds), ds, epochs=2, pairing="fixed")
    zero = xl.fit(net(ds), ds, epochs=2, pairing="same_class", share=0.0)
    half = xl.fit(net(ds), ds, epochs=2, pairing=Pairing("same_class", 0.5, own=False))
    assert fixed.history["loss"].tolist() == zero.history["loss"].tolist()
    assert half.settings["share"] == 0.5
    assert half.settings["own"] is False


def test_one_step_of_sgd_is_the_gradient_step() -> None:
    ds = toy(n=30).to(dtype=torch.float64)
    start = net(ds).double()
    run = xl.fit(start, ds, epochs=1, batch_size=100, optimizer="sgd", lr=0.1, weight_decay=0.0)
    loss = xl.loss_on(start, ds.train)
    params = {k: p.clone().requires_grad_() for k, p in loss.params.items()}
    gradients = torch.autograd.grad(loss(params), list(params.values()))
    for (k, p), g in zip(start.named_parameters(), gradients, strict=True):
        assert_close(dict(run.model.named_parameters())[k].detach(), (p - 0.1 * g).detach())


def test_fused_adam_equals_plain_adam() -> None:
    ds = toy(n=30)
    run = xl.fit(net(ds), ds, epochs=4, batch_size=100)
    model = net(ds)
    steps = torch.optim.Adam(model.parameters(), 1e-3, weight_decay=1e-4)
    for _ in range(4):
        steps.zero_grad()
        torch.nn.functional.cross_entropy(model(ds.train.inputs), ds.train.labels).backward()
        steps.step()
    for p, q in zip(model.parameters(), run.model.parameters(), strict=True):
        assert_close(p, q, rtol=1e-4, atol=1e-6)


def test_best_keeps_the_epoch_with_the_lowest_validation_loss() -> None:
    ds = toy()
    run = xl.fit(net(ds), ds, epochs=12, lr=0.1, choose="best")
    best = run.history["val_loss"].min()
    assert ds.val is not None
    assert training.evaluate(run.model, ds.val)[0] == pytest.approx(best)


def test_snapshots_and_checkpoints(tmp_path) -> None:
    ds = toy()
    run = xl.fit(net(ds), ds, epochs=4, snapshots=2, checkpoints=tmp_path / "run")
    assert list(run.snapshots) == [0, 2, 4]
    assert_close(run.snapshots[4], {k: p.detach() for k, p in run.model.named_parameters()})
    files = sorted(p.name for p in (tmp_path / "run").iterdir())
    assert files == [f"epoch-{i:04d}.safetensors" for i in range(1, 5)]
    loaded = training.load_checkpoint(net(ds), tmp_path / "run" / files[-1])
    assert_close(dict(loaded.state_dict()), dict(run.model.state_dict()))
    saved = run.save(tmp_path / "whole.safetensors")
    with safe_open(saved, "pt") as file:
        assert json.loads(file.metadata()["settings"])["epochs"] == 4
        assert float(file.metadata()["score"]) == run.score


def test_a_diverging_run_names_epoch_and_learning_rate() -> None:
    ds = toy()
    with pytest.raises(training.DivergedError, match=r"became (nan|inf) in epoch \d+ with learning rate 1e\+30"):
        xl.fit(net(ds), ds, epochs=5, optimizer="sgd", lr=1e30)


def test_regression_reports_minus_the_squared_error() -> None:
    ds = toy()
    real = xl.Dataset(
        "real", *(dataclasses.replace(s, labels=s.inputs["image"].mean((1, 2, 3))) for s in (ds.train, ds.test))
    )
    run = xl.fit(xl.LateFusion.for_dataset(real, "image", architecture="mlp"), real, epochs=20, lr=1e-2)
    assert -0.1 < run.score < 0


def test_progress_and_on_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    ds = toy()
    seen: list[float] = []
    xl.fit(net(ds), ds, epochs=2, progress=True, on_epoch=lambda row: seen.append(row["epoch"]))
    assert seen == [1, 2]
    assert "training" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"lr": 0}, "lr must be above 0"),
        ({"lr": float("inf")}, "lr must be finite"),
        ({"weight_decay": -1}, "weight_decay must be at least 0"),
        ({"optimizer": "lion"}, "unknown optimizer"),
        ({"pairing": "same"}, "unknown pairing 'same'"),
        ({"pairing": "same_class", "share": 2}, "share must lie between 0 and 1"),
        ({"choose": "test"}, "unknown choose"),
        ({"device": "cuda:99"}, "cannot be used here"),
        ({"device": "gpu"}, "cannot be used here"),
    ],
)
def test_bad_settings_are_refused_before_training(change: dict, message: str) -> None:
    ds = toy()
    with pytest.raises(ValueError, match=message):
        xl.fit(net(ds), ds, on_epoch=lambda row: pytest.fail("trained"), **change)


def test_a_dataset_that_does_not_fit_the_net() -> None:
    ds = toy()
    deaf = xl.Dataset("deaf", ds.train.select("image"), ds.test.select("image"), ds.classes)
    with pytest.raises(ValueError, match="unknown modality 'audio'"):
        xl.fit(net(ds), deaf)
    with pytest.raises(ValueError, match="needs a validation split"):
        xl.fit(net(deaf), deaf, choose="best")


def test_a_class_without_a_training_sample_is_named() -> None:
    ds = toy()
    some = xl.Dataset("some", ds.train.subset(ds.train.labels < 2), ds.test, ds.classes)
    with pytest.raises(ValueError, match="1 of 3 classes have no training sample: 'c'"):
        xl.fit(net(some), some)


def test_a_bad_checkpoint_is_named(tmp_path) -> None:
    ds = toy()
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        training.load_checkpoint(net(ds), tmp_path / "none.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"not weights")
    with pytest.raises(ValueError, match="does not hold the weights"):
        training.load_checkpoint(net(ds), tmp_path / "bad.safetensors")


# -- flat minima, smoothed labels, augmentation ------------------------------------------------------


def whole_batch(ds: xl.Dataset, **options: object) -> xl.Run:
    """One step of plain gradient descent."""
    start = net(ds).to(torch.float64)
    return xl.fit(start, ds, epochs=1, batch_size=100, optimizer="sgd", lr=0.1, weight_decay=0.0, **options)


def gradient_of(loss: xl.Loss, params: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    leaves = {k: p.detach().clone().requires_grad_() for k, p in params.items()}
    return dict(zip(leaves, torch.autograd.grad(loss(leaves), list(leaves.values())), strict=True))


def test_sam_steps_along_the_gradient_at_the_sharpest_point_nearby() -> None:
    ds = toy(n=30).to(dtype=torch.float64)
    start = net(ds)
    loss = xl.loss_on(start, ds.train)
    first = gradient_of(loss, loss.params)
    norm = torch.cat([g.flatten() for g in first.values()]).norm()
    there = gradient_of(loss, {k: p + 0.05 * first[k] / norm for k, p in loss.params.items()})
    run = whole_batch(ds, sam=0.05)
    for k, p in run.model.named_parameters():
        assert_close(p.detach(), loss.params[k] - 0.1 * there[k], rtol=1e-9, atol=1e-11)
    assert run.settings["sam"] == 0.05
    plain = whole_batch(ds)
    assert run.history["loss"].tolist() == pytest.approx(plain.history["loss"].tolist()), "the loss is that at θ"
    assert not torch.equal(next(run.model.parameters()), next(plain.model.parameters()))


def test_label_smoothing_moves_the_target() -> None:
    ds = toy(n=30).to(dtype=torch.float64)
    start = net(ds)
    logits = start(ds.train.inputs)
    target = 0.9 * torch.nn.functional.one_hot(ds.train.labels, 3) + 0.1 / 3
    loss = -(target * logits.log_softmax(-1)).sum(1).mean()
    gradients = torch.autograd.grad(loss, list(start.parameters()))
    run = whole_batch(ds, label_smoothing=0.1)
    assert run.history["loss"].item() == pytest.approx(loss.item())
    for p, q, g in zip(run.model.parameters(), start.parameters(), gradients, strict=True):
        assert_close(p.detach(), (q - 0.1 * g).detach(), rtol=1e-9, atol=1e-11)


def test_swa_is_the_mean_of_the_last_epochs() -> None:
    ds = toy(n=30)
    run = xl.fit(net(ds), ds, epochs=8, swa=0.5, snapshots=1)
    for k, p in run.model.named_parameters():
        mean = torch.stack([run.snapshots[epoch][k] for epoch in (5, 6, 7, 8)]).mean(0)
        assert_close(p.detach(), mean, rtol=1e-5, atol=1e-6)
    plain = xl.fit(net(ds), ds, epochs=8)
    assert run.history["loss"].tolist() == plain.history["loss"].tolist(), "training itself is the same"
    assert run.history["test_loss"].tolist()[:5] == plain.history["test_loss"].tolist()[:5]
    assert run.history["test_loss"].iloc[-1] == pytest.approx(training.evaluate(run.model, ds.test)[0])
    chosen = xl.fit(net(ds), ds, epochs=8, lr=0.1, swa=1.0, choose="best")
    assert training.evaluate(chosen.model, ds.val)[0] == pytest.approx(chosen.history["val_loss"].min())


def test_swa_renews_the_statistics_of_batchnorm() -> None:
    ds = toy(n=30)
    start = xl.LateFusion.for_dataset(ds, "image", architecture="cnn", norm="batch", width=8)
    run = xl.fit(start, ds, epochs=3, batch_size=30, swa=0.7)
    seen = []
    first = next(m for m in run.model.modules() if isinstance(m, torch.nn.BatchNorm2d))
    first.register_forward_pre_hook(lambda _, x: seen.append(x[0]))
    run.model(ds.train.inputs)
    assert_close(first.running_mean, seen[0].mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
    assert first.momentum == 0.1


def test_augmented_inputs_train_and_held_out_ones_stay() -> None:
    ds = toy()
    plain, changed = (xl.fit(net(ds), ds, epochs=3, augment=a) for a in ("", "jitter+crop+flip+time_mask"))
    again = xl.fit(net(ds), ds, epochs=3, augment="jitter+crop+flip+time_mask")
    assert changed.history["loss"].tolist() != plain.history["loss"].tolist()
    assert changed.history["loss"].tolist() == again.history["loss"].tolist()
    assert changed.score == training.evaluate(changed.model, ds.test)[1]


def test_three_modalities() -> None:
    ds = toy(n=60)

    def third(s: xl.Samples) -> xl.Samples:
        return dataclasses.replace(s, inputs={**s.inputs, "text": s.inputs["image"].flatten(1)[:, :5]}, present={})

    three = xl.Dataset("three", third(ds.train), third(ds.test), ds.classes, val=third(ds.val))
    run = xl.fit(net(three), three, epochs=15, lr=1e-2, pairing="same_class", augment="flip")
    assert run.settings["modalities"] == ["image", "audio", "text"]
    assert run.score > 0.6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label_smoothing": 1}, "label_smoothing must be below 1"),
        ({"label_smoothing": -0.1}, "label_smoothing must lie between 0 and 1"),
        ({"sam": -1}, "sam must be at least 0"),
        ({"swa": 2}, "swa must lie between 0 and 1"),
        ({"augment": "blur"}, "unknown augmentation 'blur'; known: 'jitter', 'crop'"),
        ({"augment": "crop+crop"}, "one augmentation twice"),
    ],
)
def test_bad_ways_of_training_are_refused_before_it(change: dict, message: str) -> None:
    ds = toy()
    with pytest.raises(ValueError, match=message):
        xl.fit(net(ds), ds, on_epoch=lambda row: pytest.fail("trained"), **change)


def test_what_does_not_fit_the_dataset_is_refused() -> None:
    ds = toy()
    real = xl.Dataset(
        "real", *(dataclasses.replace(s, labels=s.inputs["image"].mean((1, 2, 3))) for s in (ds.train, ds.test))
    )
    with pytest.raises(ValueError, match="label_smoothing needs class labels"):
        xl.fit(net(real), real, label_smoothing=0.1)
    flat = xl.Dataset("flat", *(
        dataclasses.replace(s, inputs={"image": s.inputs["image"].flatten(1)}, present={}) for s in (ds.train, ds.test)
    ))  # fmt: skip
    with pytest.raises(ValueError, match=r"'crop' needs image samples of shape \(C, H, W\)"):
        xl.fit(net(flat), flat, augment="crop")


def test_unknown_labels_are_refused_before_training() -> None:
    ds = toy(n=30)
    for split in ("train", "test", "val"):
        samples = getattr(ds, split)
        labels = samples.labels.clone()
        labels[3:5] = -1
        unknown = dataclasses.replace(ds, **{split: dataclasses.replace(samples, labels=labels)})
        with pytest.raises(ValueError, match=rf"2 of 30 {split} rows have unknown labels \(-1\), .*\.subset\("):
            xl.fit(net(ds), unknown, on_epoch=lambda row: pytest.fail("trained"))
        with pytest.raises(ValueError, match=rf"2 of 30 {split} rows have unknown labels"):
            fit_stack([net(ds)], unknown)


class Normed(torch.nn.Module):
    """A net with BatchNorm over rows, which has no variance of one row."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 8), torch.nn.BatchNorm1d(8))
        self.head, self.seen = torch.nn.Linear(8, 3), []

    def forward(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        if self.training:
            self.seen.append(len(inputs["image"]))
        return self.head(self.net(inputs["image"]))


def test_a_last_batch_of_one_row_joins_the_one_before_it_for_batchnorm() -> None:
    ds = toy(n=31)
    assert xl.fit(Normed(), ds, epochs=1, batch_size=10).model.seen == [10, 10, 11]
    averaged = xl.fit(Normed(), ds, epochs=2, batch_size=10, swa=0.5).model
    assert averaged.seen[-3:] == [10, 10, 11], "where SWA renews the statistics, too"
    with pytest.raises(ValueError, match=r"BatchNorm needs at least two rows in a batch, .*batch_size 1, 31 rows"):
        xl.fit(Normed(), ds, epochs=1, batch_size=1)
    # Others keep their batches.
    assert [len(k) for k in training.cut_rows(torch.arange(31), 10, net(ds))] == [10, 10, 10, 1]


def test_labels_beyond_the_outputs_of_a_net_are_told() -> None:
    ds = toy(n=30)
    narrow = xl.LateFusion.for_dataset(ds, architecture="mlp", width=8, outputs=2)
    with pytest.raises(
        ValueError, match="labels run from 0 to 2, and the module has 2 outputs, for the classes 0 to 1"
    ):
        xl.fit(narrow, ds, epochs=1)
