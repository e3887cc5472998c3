"""One rule says which loss and which score labels ask for: against NumPy, in training, stacks, attacks and instruments."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import hamming_loss, log_loss

import xmodal_lab as xl
from xmodal_lab.models import objectives
from xmodal_lab.training.stacking import fit_stack


def world(task: str, n: int = 80, seed: int = 0) -> xl.Dataset:
    g = torch.Generator().manual_seed(seed)
    views = {"a": torch.randn(n, 4, generator=g), "b": torch.randn(n, 3, generator=g)}
    both = torch.cat([views["a"][:, :2], views["b"][:, :1]], 1)
    labels = {"classes": both.argmax(1), "labels": both > 0, "values": both[:, 0], "vectors": both}[task]
    samples = xl.Samples(views, labels)
    names = ("x", "y", "z") if task in ("classes", "labels") else ()
    return xl.Dataset(task, samples.subset(slice(0, 60)), samples.subset(slice(60, n)), names)


def test_losses_and_scores_are_those_of_numpy() -> None:
    g = torch.Generator().manual_seed(1)
    z, p = torch.randn(7, 3, generator=g, dtype=torch.float64), torch.randn(7, generator=g, dtype=torch.float64)
    y, tags = torch.tensor([0, 1, 2, 0, 1, 2, 0]), torch.rand(7, 3, generator=g) > 0.5
    assert float(objectives.loss_of(z, y)) == pytest.approx(log_loss(y.numpy(), z.softmax(1).numpy()), rel=1e-9)
    chance = z.sigmoid().numpy()
    bce = -np.where(tags.numpy(), np.log(chance), np.log(1 - chance)).mean()
    assert float(objectives.loss_of(z, tags)) == pytest.approx(bce, rel=1e-9)
    assert float(objectives.scores_of(z, tags).mean()) == pytest.approx(1 - hamming_loss(tags.numpy(), z.numpy() > 0))
    assert float(objectives.loss_of(p[:, None], y.double())) == pytest.approx(float(((p - y) ** 2).mean()), rel=1e-12)
    for outputs, labels in ((z, y), (z, tags), (p, y.double()), (z, z.flip(0))):
        rows = objectives.loss_of(outputs, labels, "none")
        assert rows.shape == (7,)
        assert float(objectives.loss_of(outputs, labels, "sum")) == pytest.approx(float(rows.sum()), rel=1e-12)
        assert float(objectives.loss_of(outputs, labels)) == pytest.approx(float(rows.mean()), rel=1e-12)


@pytest.mark.parametrize("task", ["labels", "values", "vectors"])
def test_every_room_follows_the_labels(task: str) -> None:
    ds = world(task)
    net = xl.LateFusion.for_dataset(ds, width=16)
    assert net(ds.test.inputs).shape == (20, 3 if task in ("labels", "vectors") else 1)
    run = xl.fit(net, ds, epochs=80, lr=1e-2)
    assert run.score > {"labels": 0.8, "values": -0.3, "vectors": -0.4}[task]
    outputs = run.model(ds.test.inputs).detach()
    wanted = float(objectives.loss_of(outputs, ds.test.labels))
    assert float(xl.loss_on(run.model, ds.test).value()) == pytest.approx(wanted, rel=1e-5)
    found = xl.robustness.evaluate_under(run.model, ds.test)
    assert found.loss == pytest.approx(wanted, rel=1e-5) and found.accuracy == pytest.approx(run.score, rel=1e-5)
    attack = xl.robustness.pgd(run.model, ds.test, "a", eps=0.3)
    assert attack.adversarial_loss > attack.clean_loss
    assert xl.curvature.top_eigenvalues(xl.loss_on(run.model, ds.test), k=1).values[0] > 0


@pytest.mark.parametrize("task", ["classes", "labels", "values", "vectors"])
def test_a_stack_scores_each_member_as_if_alone(task: str) -> None:
    ds = world(task)
    nets = [xl.LateFusion.for_dataset(ds, width=8, seed=s).double() for s in (0, 1)]
    ds = ds.to(dtype=torch.float64)
    if task in ("values", "vectors"):
        ds = replace(ds, train=replace(ds.train, labels=ds.train.labels.double()),
                     test=replace(ds.test, labels=ds.test.labels.double()))  # fmt: skip
    together = fit_stack(nets, ds, epochs=2, seed=[0, 1], device="cpu")
    for k, net in enumerate(nets):
        alone = xl.fit(net, ds, epochs=2, seed=k, device="cpu")
        assert together[k].score == pytest.approx(alone.score, rel=1e-9)
        assert together[k].history.loss.tolist() == pytest.approx(alone.history.loss.tolist(), rel=1e-9)


@pytest.mark.parametrize(
    ("task", "outputs", "message"),
    [
        ("labels", 2, r"several classes a row need one logit for each, \(60, 3\), got outputs \(60, 2\)"),
        ("vectors", 2, "need 3 outputs per row"),
        ("values", 2, "need one output per row"),
    ],
)
def test_a_net_that_answers_something_else(task: str, outputs: int, message: str) -> None:
    ds = world(task)
    with pytest.raises(ValueError, match=message):
        xl.fit(xl.LateFusion.for_dataset(ds, outputs=outputs), ds, epochs=1)


def test_what_needs_classes_says_so() -> None:
    ds = world("labels")
    with pytest.raises(ValueError, match="label_smoothing needs class labels; these are several a row"):
        xl.fit(xl.LateFusion.for_dataset(ds), ds, epochs=1, label_smoothing=0.1)
    none = replace(ds.train, labels=ds.train.labels & torch.tensor([True, True, False]))
    with pytest.raises(ValueError, match="1 of 3 classes have no training sample: 'z'"):
        xl.fit(xl.LateFusion.for_dataset(ds), replace(ds, train=none), epochs=1)
    unknown = replace(world("classes").test, labels=torch.tensor([-1] * 3 + [0] * 17))
    with pytest.raises(ValueError, match=r"unknown \(-1\): 3 of 20; use samples.subset"):
        xl.loss_on(xl.LateFusion.for_dataset(world("classes")), unknown)
    for pairing in ("shuffled", "same_class"):  # several classes a row: the same set of classes is the same class
        xl.fit(xl.LateFusion.for_dataset(ds), ds, epochs=1, pairing=pairing)
