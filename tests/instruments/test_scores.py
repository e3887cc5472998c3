"""Scores by the sort of the labels, against scikit-learn and SciPy, of outputs and of anyone's module on a batch."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats
from sklearn import metrics as sk
from torch import nn

import xmodal_lab as xl

G = torch.Generator().manual_seed(0)
X = torch.randn(40, 5, generator=G)


def test_classes() -> None:
    z, y = torch.randn(40, 3, generator=G), torch.arange(40) % 3
    found = xl.metrics.scores(z, y)
    p = z.double().softmax(1).numpy()
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(y, z.argmax(1)))
    assert found["f1_macro"] == pytest.approx(sk.f1_score(y, z.argmax(1), average="macro"))
    assert found["auroc"] == pytest.approx(sk.roc_auc_score(y, p, multi_class="ovr"))
    assert found["majority"] == pytest.approx(14 / 40)
    assert math.isnan(xl.metrics.scores(z, y.clamp_max(1))["auroc"])  # class 2 has no row


def test_several_classes_a_row() -> None:
    z = torch.randn(40, 3, generator=G)
    y = torch.rand(40, 3, generator=G) < torch.tensor([0.5, 0.2, 0.0])
    y[0, :2] = True
    found, said = xl.metrics.scores(z, y), (z > 0).numpy()
    assert found["accuracy"] == pytest.approx(1 - sk.hamming_loss(y, said))
    assert found["exact"] == pytest.approx(sk.accuracy_score(y, said))
    assert found["f1_micro"] == pytest.approx(sk.f1_score(y, said, average="micro"))
    assert found["f1_macro"] == pytest.approx(sk.f1_score(y, said, average="macro", zero_division=0.0))
    # the third class has no row, so it has no ranking
    assert found["average_precision"] == pytest.approx(sk.average_precision_score(y[:, :2], z[:, :2], average="macro"))
    assert found["auroc"] == pytest.approx(sk.roc_auc_score(y[:, :2], z[:, :2], average="macro"))


@pytest.mark.parametrize("columns", [1, 2])
def test_real_values(columns: int) -> None:
    y = torch.randn(40, columns, generator=G)
    z = y + torch.randn(40, columns, generator=G)
    labels = y[:, 0] if columns == 1 else y
    found = xl.metrics.scores(z, labels)
    assert found["mse"] == pytest.approx(sk.mean_squared_error(y, z))
    assert found["mae"] == pytest.approx(sk.mean_absolute_error(y, z))
    assert found["r2"] == pytest.approx(sk.r2_score(y, z))
    each = [stats.spearmanr(z[:, c], y[:, c]).statistic for c in range(columns)]
    assert found["spearman"] == pytest.approx(sum(each) / columns)
    each = [stats.pearsonr(z[:, c], y[:, c]).statistic for c in range(columns)]
    assert found["pearson"] == pytest.approx(sum(each) / columns, rel=1e-5)
    assert math.isnan(xl.metrics.scores(z[:, 0], torch.ones(40))["r2"])


def test_a_module_on_a_batch_is_scored_as_its_outputs() -> None:
    net, y = nn.Sequential(nn.Linear(5, 3), nn.Dropout(0.5)), torch.arange(40) % 3
    with torch.no_grad():
        expected = xl.metrics.scores(net.eval()(X), y)
    net.train()
    assert xl.metrics.scores(net, (X, y)) == pytest.approx(expected) and net.training
    ds = xl.load("shapes", modalities=("image", "audio"), n_train=120, n_test=12)
    run = xl.fit(xl.LateFusion.for_dataset(ds, architecture="mlp"), ds, epochs=1)
    assert xl.metrics.scores(run, ds.test)["accuracy"] == xl.robustness.evaluate_under(run.model, ds.test).accuracy


@pytest.mark.parametrize(
    ("outputs", "labels", "error", "message"),
    [
        (torch.zeros(4, 2), torch.tensor([0, 1, 2, 0]), ValueError, "label 2 has no logit"),
        (torch.zeros(4, 2), torch.tensor([0, 1, -1, 0]), ValueError, r"some labels are unknown \(-1\)"),
        (torch.zeros(4, 2), torch.zeros(4), ValueError, "need one output per row"),
        (torch.full((4, 2), math.nan), torch.tensor([0, 1, 1, 0]), ValueError, "outputs"),
        ("net", torch.zeros(4), TypeError, "outputs"),
    ],
)
def test_what_cannot_be_scored_says_why(outputs, labels, error, message) -> None:
    with pytest.raises(error, match=message):
        xl.metrics.scores(outputs, labels)
