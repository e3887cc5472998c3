from __future__ import annotations

import math
from collections.abc import Callable

import children
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import davies_bouldin_score, f1_score, pairwise, roc_auc_score, silhouette_score
from torch import Tensor
from torch.testing import assert_close

from xmodal_lab import metrics
from xmodal_lab.instruments.metrics import discrepancy as mmd
from xmodal_lab.instruments.metrics import medians
from xmodal_lab.instruments.transport import w2

quick = settings(max_examples=25, deadline=None)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def classes(n: int, c: int, seed: int = 0) -> Tensor:
    """Labels of n samples, each of the c classes at least once."""
    labels = torch.randint(0, c, (n,), generator=torch.Generator().manual_seed(seed))
    labels[:c] = torch.arange(c)
    return labels


# -- predictions -------------------------------------------------------------------------------------


def test_accuracy_takes_classes_or_scores() -> None:
    labels = torch.tensor([0, 1, 2, 1])
    assert metrics.accuracy(torch.tensor([0, 1, 1, 1]), labels) == 0.75
    assert metrics.accuracy(np.eye(3)[[0, 1, 1, 1]], labels.numpy().astype(np.uint8)) == 0.75
    assert metrics.accuracy([1], [1]) == 1.0


@quick
@given(seed=st.integers(0, 10**6), c=st.integers(2, 5))
def test_f1_and_auroc_are_scikit_learns(seed: int, c: int) -> None:
    scores, labels = normal(20, c, seed=seed), classes(20, c, seed)
    assert metrics.f1_macro(scores, labels) == pytest.approx(
        f1_score(labels, scores.argmax(1), average="macro", zero_division=0.0)
    )
    probabilities = scores.softmax(1)
    expected = (
        roc_auc_score(labels, probabilities[:, 1])
        if c == 2
        else roc_auc_score(labels, probabilities, multi_class="ovr", average="macro")
    )
    assert metrics.auroc(probabilities, labels) == pytest.approx(expected)
    shift = 5 * normal(20, 1, seed=seed + 1)  # says nothing, but turned the order of rows
    assert metrics.auroc(scores + shift, labels) == pytest.approx(expected)
    paired = expected if c == 2 else roc_auc_score(labels, probabilities, multi_class="ovo", average="macro")
    assert metrics.auroc(scores + shift, labels, multiclass="ovo") == pytest.approx(paired)
    assert metrics.auroc(probabilities, labels, multiclass="ovo") == pytest.approx(paired)
    calibration = metrics.expected_calibration_error(scores + shift, labels)
    assert metrics.expected_calibration_error(probabilities, labels) == pytest.approx(calibration)
    if c == 2:
        assert metrics.auroc(probabilities[:, 1], labels) == pytest.approx(expected)


def test_auroc_keeps_rows_that_softmax_rounds_to_certainty() -> None:
    logits = torch.tensor([[0.0, 900, 0], [0, 800, 0], [900, 0, 0], [0, 0, 700], [0, 0, 600]])
    assert metrics.auroc(logits, [0, 1, 0, 2, 2]) == pytest.approx((1 / 2 + 3 / 4 + 1) / 3)
    with pytest.raises(ValueError, match=r"are not probabilities .* give probabilities=False"):
        metrics.auroc(logits, [0, 1, 0, 2, 2], probabilities=True)
    with pytest.raises(ValueError, match=r"unknown multiclass .weighted.; known: .ovr., .ovo."):
        metrics.auroc(logits, [0, 1, 0, 2, 2], multiclass="weighted")


def test_calibration_error_by_hand() -> None:
    probabilities = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.45, 0.55]])
    labels = torch.tensor([0, 1, 1, 1])
    # bins of width 0.25: (0.5, 0.75] holds .7 and .55, both right; (0.75, 1] holds .9 right and .8 wrong
    by_hand = 0.5 * abs(1 - 0.625) + 0.5 * abs(0.5 - 0.85)
    assert metrics.expected_calibration_error(probabilities, labels, bins=4, probabilities=True) == pytest.approx(
        by_hand
    )
    assert metrics.expected_calibration_error(probabilities.log(), labels, bins=4) == pytest.approx(by_hand)
    certain = 100 * torch.eye(3)
    assert metrics.expected_calibration_error(certain, torch.arange(3)) == pytest.approx(0, abs=1e-12)
    assert metrics.expected_calibration_error(certain, torch.tensor([1, 2, 0])) == pytest.approx(1)


def test_calibrated_scores_have_a_small_error() -> None:
    logits = normal(20000, 3)
    drawn = torch.multinomial(logits.softmax(1), 1, generator=torch.Generator().manual_seed(1))[:, 0]
    assert metrics.expected_calibration_error(logits, drawn) < 0.02
    assert metrics.expected_calibration_error(5 * logits, drawn) > 0.2


def test_disagreement_splits_the_samples() -> None:
    predictions = torch.tensor([[0, 1, 2, 2], [0, 1, 1, 2], [0, 2, 1, 2]])
    sets = metrics.disagreement(predictions)
    assert sets.agree.tolist() == [True, False, False, True]
    assert sets.disagree.tolist() == [False, True, True, False]
    assert sets.label.tolist() == [0, -1, -1, 2]
    assert sets.rate == 0.5
    assert_close(sets.pairwise, torch.tensor([[0, 0.25, 0.5], [0.25, 0, 0.25], [0.5, 0.25, 0]]).double())
    scores = torch.nn.functional.one_hot(predictions, 3).float()
    assert metrics.disagreement(scores).label.tolist() == sets.label.tolist()
    assert metrics.disagreement(list(predictions.numpy())).rate == 0.5


def test_bad_predictions_are_named() -> None:
    with pytest.raises(ValueError, match=r"labels must have shape \(3,\)"):
        metrics.accuracy(torch.tensor([0, 1, 2]), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="labels is empty"):
        metrics.accuracy(torch.tensor([], dtype=torch.long), torch.tensor([], dtype=torch.long))
    with pytest.raises(ValueError, match=r"labels holds -1; drop the rows"):
        metrics.f1_macro(torch.tensor([0, 1]), torch.tensor([0, -1]))
    with pytest.raises(TypeError, match=r"labels must be whole class numbers, got torch\.float32"):
        metrics.accuracy(torch.tensor([0, 1]), torch.tensor([0.0, 1.0]))
    with pytest.raises(ValueError, match="predictions must be"):
        metrics.accuracy(torch.tensor([0.2, 0.8]), torch.tensor([0, 1]))
    for score in (metrics.accuracy, metrics.f1_macro):  # a column has its largest entry in place 0, always
        for column in (torch.tensor([[1], [0]]), torch.tensor([[0.9], [-0.1]])):
            with pytest.raises(ValueError, match=r"predictions \(2, 1\) hold one column"):
                score(column, torch.tensor([1, 0]))
    with pytest.raises(ValueError, match=r"\(2, 3, 1\) hold one column"):
        metrics.disagreement(torch.zeros(2, 3, 1))
    with pytest.raises(ValueError, match="predictions holds 1 NaN"):
        metrics.accuracy(torch.tensor([[0.2, torch.nan]]), torch.tensor([0]))
    with pytest.raises(ValueError, match="class 1 has none among 2 labels"):
        metrics.auroc(normal(2, 2), torch.tensor([0, 0]))
    with pytest.raises(ValueError, match=r"labels holds 2, but there are only 2 \(0 to 1\)"):
        metrics.auroc(normal(2), torch.tensor([0, 2]))
    with pytest.raises(ValueError, match="C ≥ 2"):
        metrics.auroc(normal(2, 1), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="not probabilities"):
        metrics.expected_calibration_error(normal(4, 3), classes(4, 3), probabilities=True)
    with pytest.raises(ValueError, match="C ≥ 2"):
        metrics.expected_calibration_error(normal(4), classes(4, 2))
    with pytest.raises(ValueError, match="bins must be at least 1"):
        metrics.expected_calibration_error(normal(4, 3), classes(4, 3), bins=0)
    with pytest.raises(ValueError, match="K ≥ 2 classifiers"):
        metrics.disagreement(torch.tensor([[0, 1]]))
    with pytest.raises(ValueError, match="must be class numbers"):
        metrics.disagreement(normal(2, 3))


# -- retrieval and margins ---------------------------------------------------------------------------


@quick
@given(seed=st.integers(0, 10**6), similarity=st.sampled_from(metrics.SIMILARITIES))
def test_recall_is_what_sorting_by_hand_gives(seed: int, similarity: str) -> None:
    q, g = normal(9, 4, seed=seed), normal(12, 4, seed=seed + 1)
    target = torch.randint(0, 12, (9,), generator=torch.Generator().manual_seed(seed))
    close = {
        "dot": q @ g.T,
        "cosine": torch.from_numpy(pairwise.cosine_similarity(q, g)),
        "euclidean": -torch.cdist(q, g),
    }[similarity]
    order = close.argsort(dim=1, descending=True)
    for k in (1, 3, 12):
        expected = float((order[:, :k] == target[:, None]).any(1).double().mean())
        assert metrics.recall_at_k(q, g, k, target=target, similarity=similarity) == expected


def test_recall_by_rows_and_by_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    g = torch.eye(4)
    q = torch.tensor([[3.0, 0, 0, 1], [1, 2, 0, 0], [2, 1, 0.5, 0], [0, 0, 0, 1]])
    assert metrics.recall_at_k(q, g, (1, 2, 3)) == {1: 0.75, 2: 0.75, 3: 1.0}
    labels = torch.tensor([0, 1, 0, 1])
    assert metrics.recall_at_k(q, g, query_labels=labels, gallery_labels=labels) == 1.0
    assert metrics.recall_at_k(q[:1], g, query_labels=[1], gallery_labels=labels) == 0.0
    monkeypatch.setattr("xmodal_lab.instruments.metrics.embeddings._AT_ONCE", 4)  # one query at a time
    assert metrics.recall_at_k(q, g, (1, 2, 3)) == {1: 0.75, 2: 0.75, 3: 1.0}


def test_collapsed_embeddings_retrieve_nothing() -> None:
    same = np.ones((6, 3), dtype=np.float32)
    same.flags.writeable = False
    assert metrics.recall_at_k(same, same, [1, 5, 6]) == {1: 0.0, 5: 0.0, 6: 1.0}


def test_bad_retrieval_is_named() -> None:
    q, g = normal(3, 2), normal(5, 2)
    with pytest.raises(ValueError, match="k must be at most the number of gallery items, 3, got 4"):
        metrics.recall_at_k(q, q, 4)
    with pytest.raises(ValueError, match="k must be at least 1"):
        metrics.recall_at_k(q, q, 0)
    with pytest.raises(ValueError, match="k must be at most"):
        metrics.recall_at_k(q, q, [])
    with pytest.raises(ValueError, match="3 queries and 5 gallery items are not paired"):
        metrics.recall_at_k(q, g)
    with pytest.raises(ValueError, match="queries have 2 columns, the gallery 3"):
        metrics.recall_at_k(q, normal(3, 3))
    with pytest.raises(ValueError, match="target holds 5, but there are only 5"):
        metrics.recall_at_k(q, g, target=[0, 1, 5])
    with pytest.raises(ValueError, match="query 2 has label 7, which no gallery item has"):
        metrics.recall_at_k(q, q, query_labels=[0, 1, 7], gallery_labels=[0, 1, 2])
    with pytest.raises(ValueError, match="or neither"):
        metrics.recall_at_k(q, q, query_labels=[0, 1, 2])
    with pytest.raises(ValueError, match="not both"):
        metrics.recall_at_k(q, q, target=[0, 1, 2], query_labels=[0, 1, 2], gallery_labels=[0, 1, 2])
    with pytest.raises(ValueError, match="gallery is empty"):
        metrics.recall_at_k(q, torch.empty(0, 2))
    with pytest.raises(ValueError, match="unknown similarity 'cos'"):
        metrics.recall_at_k(q, q, similarity="cos")


def test_margin_is_the_distance_to_the_boundary() -> None:
    x, w, y = normal(8, 5), normal(4, 5, seed=1), classes(8, 4)
    bias = normal(4, seed=2)
    margin = metrics.functional_margin(x, w, y, bias=bias)
    for i in range(8):
        logits = w @ x[i] + bias
        wrong = max((c for c in range(4) if c != y[i]), key=lambda c: float(logits[c]))
        normal_vector = w[y[i]] - w[wrong]
        foot = x[i] - margin[i] * normal_vector / normal_vector.norm()
        assert float((w[y[i]] - w[wrong]) @ foot + bias[y[i]] - bias[wrong]) == pytest.approx(0, abs=1e-9)
    assert_close(metrics.functional_margin(x, 7 * w, y, bias=7 * bias), margin)
    assert bool(((margin > 0) == ((x @ w.T + bias).argmax(1) == y)).all())


def test_scale_free_margin_forgets_the_length_of_features() -> None:
    x, w, y = normal(8, 5), normal(4, 5, seed=1), classes(8, 4)
    free = metrics.functional_margin(x, w, y, scale_free=True)
    assert_close(metrics.functional_margin(9 * x, w, y, scale_free=True), free)
    assert_close(free * x.norm(dim=1), metrics.functional_margin(x, w, y))
    assert float(free.abs().max()) <= 1
    x = x.requires_grad_()
    assert torch.autograd.gradcheck(lambda f: metrics.functional_margin(f, w, y, scale_free=True), (x,))
    degenerate = metrics.functional_margin(torch.zeros(2, 5), torch.zeros(3, 5), [0, 2], scale_free=True)
    assert degenerate.tolist() == [0, 0]


def test_bad_margins_are_named() -> None:
    with pytest.raises(ValueError, match="features have 5 columns, weights 4"):
        metrics.functional_margin(normal(3, 5), normal(2, 4), [0, 1, 0])
    with pytest.raises(ValueError, match="at least 2 classes"):
        metrics.functional_margin(normal(3, 5), normal(1, 5), [0, 0, 0])
    with pytest.raises(ValueError, match=r"labels holds 2, but there are only 2"):
        metrics.functional_margin(normal(3, 5), normal(2, 5), [0, 1, 2])
    with pytest.raises(ValueError, match=r"bias must have shape \(2,\)"):
        metrics.functional_margin(normal(3, 5), normal(2, 5), [0, 1, 1], bias=[1.0])


def test_prototypes_that_are_the_text_means_are_aligned() -> None:
    means = normal(5, 8)
    aligned = metrics.prototype_alignment(3 * means, means)
    assert_close(aligned.cosine, torch.from_numpy(pairwise.cosine_similarity(means, means)))
    assert aligned.diagonal == pytest.approx(1)
    assert aligned.matched == 1
    off = aligned.cosine[~torch.eye(5, dtype=torch.bool)]
    assert aligned.off_diagonal == pytest.approx(float(off.mean()))
    assert metrics.prototype_alignment(means.roll(1, 0), means).matched == 0
    with pytest.raises(ValueError, match="must have the same shape"):
        metrics.prototype_alignment(means, means[:3])
    with pytest.raises(ValueError, match="text_means has a row of length 0"):
        metrics.prototype_alignment(means, means * torch.tensor([[1], [0], [1], [1], [1]]))


def test_class_means_are_means_per_class() -> None:
    x, y = normal(9, 3).requires_grad_(), classes(9, 3)
    means = metrics.class_means(x, y)
    assert_close(means, torch.stack([x[y == c].mean(0) for c in range(3)]))
    means.sum().backward()
    assert_close(x.grad.sum(), torch.tensor(9.0).double())
    with pytest.raises(ValueError, match="class 3 has no sample"):
        metrics.class_means(x, y, classes=4)


# -- clusters and clouds -----------------------------------------------------------------------------


def test_cluster_scores_are_scikit_learns() -> None:
    x, y = normal(30, 4), classes(30, 3)
    assert metrics.silhouette(x, y) == pytest.approx(silhouette_score(x, y))
    assert metrics.silhouette(x, y, metric="cosine") == pytest.approx(silhouette_score(x, y, metric="cosine"))
    assert metrics.davies_bouldin(x.requires_grad_(), y) == pytest.approx(davies_bouldin_score(x.detach(), y))


@pytest.mark.parametrize("score", [metrics.silhouette, metrics.davies_bouldin])
def test_cluster_scores_need_classes(score) -> None:
    with pytest.raises(ValueError, match=r"at least 2 classes.*got 1 class\(es\) in 5 samples"):
        score(normal(5, 2), torch.zeros(5).long())
    with pytest.raises(ValueError, match=r"a class with 2 samples, got 5 class\(es\) in 5"):
        score(normal(5, 2), torch.arange(5))
    with pytest.raises(ValueError, match=r"got 1 class\(es\) in 1 samples"):
        score(normal(1, 2), [0])
    with pytest.raises(ValueError, match="features holds 1 NaN"):
        score(torch.tensor([[torch.nan, 1.0], [0, 1], [1, 1]]), [0, 1, 1])


def gram(kernel: str, x: Tensor, y: Tensor, sigma: float) -> Tensor:
    options = {
        "rbf": {"gamma": 1 / (2 * sigma**2)},
        "laplacian": {"gamma": 1 / sigma},
        "polynomial": {"degree": 3, "gamma": 1 / x.shape[1], "coef0": 1},
        "linear": {},
    }[kernel]
    return torch.from_numpy(
        pairwise.pairwise_kernels(x, y, metric="poly" if kernel == "polynomial" else kernel, **options)
    )


@pytest.mark.parametrize("unbiased", [False, True])
@pytest.mark.parametrize("kernel", ["rbf", "laplacian", "linear", "polynomial"])
def test_mmd_is_the_definition_with_scikit_learns_kernels(kernel: str, unbiased: bool) -> None:
    x, y = normal(7, 3), normal(9, 3, seed=1) + 0.7
    found = metrics.mmd(x, y, kernel, unbiased=unbiased)
    k_xx, k_yy, k_xy = (gram(kernel, p, q, found.bandwidth) for p, q in ((x, x), (y, y), (x, y)))
    if unbiased:
        within = (k_xx.sum() - k_xx.trace()) / (7 * 6) + (k_yy.sum() - k_yy.trace()) / (9 * 8)
    else:
        within = k_xx.mean() + k_yy.mean()
    assert_close(found.value, within - 2 * k_xy.mean())
    assert found.p_value is None


def test_mmd_bandwidth_is_the_median_distance() -> None:
    x, y = normal(6, 3), normal(5, 3, seed=1)
    pooled = torch.cat([x, y])
    upper = np.triu_indices(11, 1)
    assert metrics.mmd(x, y).bandwidth == pytest.approx(float(torch.pdist(pooled).median()))
    manhattan = torch.from_numpy(pairwise.manhattan_distances(pooled)[upper])
    assert metrics.mmd(x, y, "laplacian").bandwidth == pytest.approx(float(manhattan.median()))
    assert metrics.mmd(x, y, bandwidth=2.5).bandwidth == 2.5
    assert np.isnan(metrics.mmd(x, y, "linear").bandwidth)


@pytest.mark.parametrize("unbiased", [False, True])
@pytest.mark.parametrize("kernel", ["rbf", "laplacian", "linear", "polynomial"])
def test_mmd_by_tiles_is_mmd_at_once(kernel: str, unbiased: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = normal(31, 3).requires_grad_(), normal(24, 3, seed=1) + 0.4
    options = {"unbiased": unbiased, "permutations": 30}
    whole = metrics.mmd(x, y, kernel, **options)
    (slope,) = torch.autograd.grad(whole.value, x)
    for name, value in {"_ROWS": 7, "_WHOLE": 0, "_LABELS": 200}.items():
        monkeypatch.setattr(mmd, name, value)
    tiled = metrics.mmd(x, y, kernel, **options)
    assert_close(tiled.value, whole.value, rtol=1e-12, atol=1e-14)
    assert_close(torch.autograd.grad(tiled.value, x)[0], slope, rtol=1e-11, atol=1e-14)
    assert tiled.p_value == whole.p_value
    assert np.isnan(whole.bandwidth) or tiled.bandwidth == pytest.approx(whole.bandwidth, rel=1e-13)


@pytest.mark.parametrize("far", [False, True])
@pytest.mark.parametrize("world", ["normal", "ties", "two points"])
def test_the_median_distance_is_exact_however_it_is_found(
    world: str, far: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many equal distances, and a first guess that missed, cost a further pass and no digit."""
    points = {
        "normal": normal(90, 3),
        "ties": torch.nn.functional.one_hot(classes(90, 5), 5).double(),
        "two points": torch.arange(90).remainder(2)[:, None] * torch.ones(3, dtype=torch.float64),
    }[world]
    found = torch.pdist(points)
    expected = float(found[found > 1e-9].median())
    monkeypatch.setattr(medians, "_KEPT", 40)
    if far:
        monkeypatch.setattr(medians, "_guess", lambda *a: (0.0, 1e-9))
    assert metrics.mmd(points[:40], points[40:]).bandwidth == pytest.approx(expected, rel=1e-12)


def test_points_that_are_equal_up_to_rounding_are_at_distance_0() -> None:
    """Two collapsed clouds: rounding of equal points once passed for distances, and made a bandwidth of 1e-8."""
    one, two = normal(1, 64).expand(60, 64), normal(1, 64, seed=1).expand(50, 64)
    found = metrics.mmd(one, two)
    assert found.bandwidth == pytest.approx(float((one[0] - two[0]).norm()))
    assert float(found.value) == pytest.approx(2 - 2 * math.exp(-0.5))


@pytest.mark.parametrize("kernel", ["rbf", "laplacian", "linear", "polynomial"])
def test_mmd_of_equal_clouds_is_0_and_has_a_gradient(kernel: str) -> None:
    x = normal(6, 3)
    assert_close(metrics.mmd(x, x, kernel).value, torch.zeros(()).double(), rtol=0, atol=1e-12)
    assert_close(metrics.mmd(torch.ones(4, 2), torch.ones(3, 2), kernel).value, torch.zeros(()), rtol=0, atol=1e-6)
    points = (normal(5, 3, seed=2).requires_grad_(), normal(4, 3, seed=3).requires_grad_())
    assert torch.autograd.gradcheck(lambda p, q: metrics.mmd(p, q, kernel, bandwidth=1.3).value, points)


def test_linear_mmd_is_the_distance_of_the_means() -> None:
    x, y = normal(6, 3), normal(8, 3, seed=1) + 1e4
    assert_close(metrics.mmd(x, y, "linear").value, (x.mean(0) - y.mean(0)).square().sum())


def test_mmd_p_value_is_uniform_under_the_null_and_small_under_a_shift() -> None:
    null = [
        metrics.mmd(normal(15, 2, seed=2 * s), normal(12, 2, seed=2 * s + 1), permutations=99).p_value
        for s in range(60)
    ]
    assert 0.35 < float(np.mean(null)) < 0.65
    assert np.mean(np.array(null) <= 0.1) < 0.25
    shifted = metrics.mmd(normal(15, 2), normal(12, 2, seed=1) + 2, permutations=99, unbiased=True)
    assert shifted.p_value == 0.01
    assert metrics.mmd(torch.ones(4, 2), torch.ones(5, 2), permutations=20).p_value == 1.0


def test_unbiased_mmd_is_0_on_average_under_the_null() -> None:
    values = torch.stack(
        [
            metrics.mmd(normal(10, 2, seed=2 * s), normal(8, 2, seed=2 * s + 1), bandwidth=1, unbiased=True).value
            for s in range(200)
        ]
    )
    assert abs(float(values.mean())) < 4 * float(values.std()) / 200**0.5
    assert float(values.min()) < 0


@pytest.mark.slow
@pytest.mark.once
def test_mmd_of_many_points_takes_no_table_of_them() -> None:
    """11,000 points: the table was 1 GB in float64, and four more of its size on the way."""
    code = (
        "import resource, torch, xmodal_lab as xl; x = torch.randn(5500, 2); y = torch.randn(5500, 2)\n"
        "xl.metrics.mmd(x[:50], y[:50]); before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "xl.metrics.mmd(x, y, bandwidth=1.0); xl.metrics.mmd(x[:3000], y[:3000])\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = children.python(code)
    assert int(done.stdout) < 300_000  # kB


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (
            lambda x: metrics.mmd(x, x + 1),
            r"the MMD of 200000 and 200000 points goes over 1.6e\+11 pairs.* random subset",
        ),
        (lambda x: metrics.mmd(x, x, "polynomial"), r"goes over 8e\+10 pairs of points, .* some 27 minutes"),
        (lambda x: metrics.recall_at_k(x, x), "recall of 200000 queries among 200000 items .* subset of the queries"),
        (lambda x: metrics.silhouette(x, torch.arange(len(x)) % 7), "silhouette of 200000 points .* davies_bouldin"),
        (
            lambda x: w2(x[:5000], x[:5000] + 1, "entropic"),
            "entropic W2 .* which takes .* method='sliced'",
        ),
    ],
)
def test_what_takes_minutes_says_so_before_it_starts(what: Callable[[torch.Tensor], object], said: str) -> None:
    """A warning is an error here, so none of them goes on."""
    with pytest.raises(UserWarning, match=said):
        what(normal(200_000, 2))


def test_bad_clouds_for_mmd_are_named() -> None:
    with pytest.raises(ValueError, match="different dimension"):
        metrics.mmd(normal(3, 2), normal(3, 3))
    with pytest.raises(ValueError, match="at least 2 points in each cloud, got 1 and 3"):
        metrics.mmd(normal(1, 2), normal(3, 2), unbiased=True)
    with pytest.raises(ValueError, match="unknown kernel 'gauss'"):
        metrics.mmd(normal(3, 2), normal(3, 2), "gauss")
    with pytest.raises(ValueError, match="bandwidth must be above 0"):
        metrics.mmd(normal(3, 2), normal(3, 2), bandwidth=0)
    with pytest.raises(ValueError, match="permutations must be at least 0"):
        metrics.mmd(normal(3, 2), normal(3, 2), permutations=-1)


def test_labels_beyond_the_scores_are_no_wrong_answers() -> None:
    """Of labels from 1 on, each was called wrong without a word."""
    scores, labels = torch.eye(3), [0, 1, 2]
    assert metrics.accuracy(scores, labels) == metrics.f1_macro(scores, labels) == 1
    for score in (metrics.accuracy, metrics.f1_macro, metrics.auroc, metrics.expected_calibration_error):
        with pytest.raises(ValueError, match=r"labels holds 3, but there are only 3 \(0 to 2\)"):
            score(scores, [1, 2, 3])
    assert metrics.accuracy([1, 2, 3], [1, 2, 3]) == 1  # of class numbers any will do


def test_sums_of_single_precision_are_taken_in_double() -> None:
    """Far from 0 the means of classes lost 6 % of the Davies-Bouldin index."""
    points = torch.randn(30, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float32) + 1e6
    labels = torch.arange(30) % 3
    for score in (metrics.davies_bouldin, metrics.silhouette):
        assert score(points, labels) == pytest.approx(score(points.double(), labels), rel=1e-9)
