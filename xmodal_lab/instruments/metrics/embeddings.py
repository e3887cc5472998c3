"""Scores of predictions, retrieval, clusters and clouds, as the five papers use them.

Predictions: :func:`accuracy`, :func:`f1_macro`, :func:`auroc`, :func:`expected_calibration_error`,
:func:`disagreement`. Embeddings: :func:`recall_at_k`, :func:`functional_margin`, :func:`prototype_alignment`,
:func:`silhouette`, :func:`davies_bouldin`, :func:`mmd`.

scikit-learn computes what it has (F1, AUROC, silhouette, Davies-Bouldin); the rest is here.
Everything takes tensors or arrays; scores are floats, results per sample are tensors.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...utils import checks as check
from ...utils.checks import class_numbers
from ...utils.effort import tell_if_long
from ...utils.points import cloud, floating, magnitude, of_length_one, squared_distances
from ...utils.torch_state import full_precision, wide

SIMILARITIES = ("cosine", "dot", "euclidean")

# Similarities that recall@k holds at a time (ours): 64 MB in single precision.
_AT_ONCE = 1 << 24


# -- retrieval and margins ---------------------------------------------------------------------------


@full_precision()
def recall_at_k(
    queries: Any,
    gallery: Any,
    k: int | Sequence[int] = 1,
    *,
    target: Any = None,
    query_labels: Any = None,
    gallery_labels: Any = None,
    similarity: str = "cosine",
) -> Any:
    """Share of queries that find a right item among their k most similar ones.

    Which items are right: row i for query i (the default, as many queries as items); ``target[i]``; or every item
    with the query's label. A wrong item as similar as the best right one comes before it, so that embeddings that
    have collapsed to one point score 0 and not 1.

    Args:
        queries: (n, d) embeddings.
        gallery: (m, d) embeddings.
        k: how many to look at, at most m; or several such numbers.
        target: (n,) row of the right item.
        query_labels, gallery_labels: (n,), (m,) class numbers, both or none.
        similarity: ``"cosine"``, ``"dot"`` or ``"euclidean"`` (the nearest is the most similar).

    Returns:
        A float, or a dict k -> float for several k.

    Warns:
        UserWarning: so many queries and items that it takes more than about a minute.

    Raises:
        ValueError: k > m, different dimensions, a query without a right item, NaN, two ways to say what is right.

    Example:
        >>> import xmodal_lab as xl
        >>> queries, gallery = [[1.0, 0.1], [0.1, 1.0]], [[1.0, 0.0], [1.0, 0.2]]
        >>> xl.metrics.recall_at_k(queries, gallery, k=[1, 2])
        {1: 0.5, 2: 1.0}
    """
    check.one_of("similarity", similarity, SIMILARITIES)
    q, g = cloud("queries", queries).detach(), cloud("gallery", gallery).detach()
    if q.shape[1] != g.shape[1]:
        raise ValueError(f"queries have {q.shape[1]} columns, the gallery {g.shape[1]}; embed both in one space first.")
    single = not isinstance(k, Iterable) or getattr(k, "ndim", 1) == 0
    several = [check.integer("k", number, at_least=1) for number in ([k] if single else check.listed("k", k))]
    if not several or max(several) > len(g):
        raise ValueError(
            f"k must be at most the number of gallery items, {len(g)}, got {k}: all of them hold the answer."
        )
    if (query_labels is None) != (gallery_labels is None):
        raise ValueError("give query_labels and gallery_labels, or neither.")
    if query_labels is not None and target is not None:
        raise ValueError("give target or labels, not both.")
    if query_labels is not None:
        right_of, right = (
            class_numbers("query_labels", query_labels, len(q)),
            class_numbers("gallery_labels", gallery_labels, len(g)),
        )
        lonely = ~torch.isin(right_of, right)
        if bool(lonely.any()):
            first = int(lonely.nonzero()[0])
            raise ValueError(f"query {first} has label {int(right_of[first])}, which no gallery item has.")
    else:
        if target is None and len(q) != len(g):
            raise ValueError(
                f"{len(q)} queries and {len(g)} gallery items are not paired row by row; give target or labels."
            )
        rows = torch.arange(len(q)) if target is None else target
        right_of, right = class_numbers("target", rows, len(q), below=len(g)), torch.arange(len(g))
    tell_if_long(
        f"recall of {len(q)} queries among {len(g)} items", len(q) * len(g), "take a random subset of the queries"
    )
    dtype = torch.promote_types(q.dtype, g.dtype)
    q, g = q.to(dtype), g.to(q.device, dtype)
    if similarity == "cosine":
        q, g = of_length_one(q), of_length_one(g)
    ranks = []
    for part, wanted in zip(*(x.split(max(1, _AT_ONCE // len(g))) for x in (q, right_of)), strict=True):
        close = -squared_distances(part, g) if similarity == "euclidean" else part @ g.T
        is_right = (wanted[:, None] == right[None, :]).to(close.device)
        best = close.masked_fill(~is_right, -torch.inf).amax(1, keepdim=True)
        ranks.append(((close >= best) & ~is_right).sum(1))
    rank = torch.cat(ranks)
    recalls = {number: float(wide(rank < number).mean()) for number in several}
    return recalls[several[0]] if single else recalls


@full_precision()
def functional_margin(
    features: Any, weights: Any, labels: Any, *, bias: Any = None, scale_free: bool = False
) -> Tensor:
    """Distance of each sample to the boundary with its strongest wrong class, negative on the wrong side.

    γ_i = (w_y·x_i - w_j·x_i) / ‖w_y - w_j‖, j the wrong class with the largest logit (uml App F.2, Eq 8). It does
    not change with the length of the weights, but it does with that of the features; ``scale_free`` divides by
    ‖x_i‖ as well, so that encoders can be compared: at most 1 without bias.

    Args:
        features: (n, d) x_i, as the head sees them.
        weights: (C, d) rows w_c of the linear head, C ≥ 2.
        labels: (n,) class numbers below C.
        bias: (C,) added to the logits, if the head has one.
        scale_free: divide by the length of each feature.

    Returns:
        (n,) margins, differentiable; 0 where both rows of the head are equal or the feature is 0.

    Raises:
        ValueError: shapes that do not fit, one class, NaN.

    Example:
        >>> import xmodal_lab as xl
        >>> head = [[1.0, 0.0], [-1.0, 0.0]]  # the boundary is the second axis
        >>> xl.metrics.functional_margin([[2.0, 7.0], [-1.0, 0.0]], head, labels=[0, 0])
        tensor([ 2., -1.])
    """
    x, w = cloud("features", features), cloud("weights", weights)
    if x.shape[1] != w.shape[1]:
        raise ValueError(
            f"features have {x.shape[1]} columns, weights {w.shape[1]}; they must be the head's input and weight."
        )
    check.one_device(features=x, weights=w)
    if len(w) < 2:
        raise ValueError("a margin needs at least 2 classes, got weights with one row.")
    dtype = torch.promote_types(x.dtype, w.dtype)
    x, w = wide(x), wide(w)
    y = class_numbers("labels", labels, len(x), below=len(w)).to(x.device)
    logits = x @ w.T
    if bias is not None:
        offset = check.finite("bias", floating("bias", bias)).to(logits)
        if offset.shape != (len(w),):
            raise ValueError(f"bias must have shape ({len(w)},), got {tuple(offset.shape)}.")
        logits = logits + offset
    rows = torch.arange(len(x), device=x.device)
    wrong = logits.index_put((rows, y), logits.new_tensor(-torch.inf)).argmax(1)
    length = (w[y] - w[wrong]).norm(dim=1)
    if scale_free:
        length = length * x.norm(dim=1)
    margin = logits[rows, y] - logits[rows, wrong]
    margin = torch.where(length > 0, margin / torch.where(length > 0, length, 1), 0).to(dtype)
    return check.finite("the margin (of logits that overflow)", margin)


@dataclass(frozen=True, eq=False)
class PrototypeAlignment:
    """How well class prototypes point to their class's mean text embedding (uml App F.2, Fig 44).

    Attributes:
        cosine: (C, C) cosine of prototype r (row) and text mean c (column).
        diagonal: mean cosine of a prototype with its own text mean.
        off_diagonal: mean cosine with the other classes' text means.
        matched: share of prototypes whose nearest text mean is their own.
    """

    cosine: Tensor
    diagonal: float
    off_diagonal: float
    matched: float


def prototype_alignment(prototypes: Any, text_means: Any) -> PrototypeAlignment:
    """Cosines between the rows of a head and the mean text embeddings of the classes.

    The paper plots inner products; cosines do not grow with the weights.

    Args:
        prototypes: (C, d) class weight rows, or any class centres.
        text_means: (C, d), see :func:`class_means`; same order of classes.

    Returns:
        Cosines (C, C), their means on and off the diagonal, and the share of prototypes that match.

    Raises:
        ValueError: shapes that differ, one class, a row of length 0, NaN.

    Example:
        >>> import xmodal_lab as xl
        >>> found = xl.metrics.prototype_alignment([[1.0, 0.0], [0.0, 1.0]], [[5.0, 0.0], [0.0, 2.0]])
        >>> found.diagonal, found.off_diagonal, found.matched
        (1.0, 0.0, 1.0)
    """
    rows, columns = cloud("prototypes", prototypes).detach(), cloud("text_means", text_means).detach()
    if rows.shape != columns.shape or len(rows) < 2:
        raise ValueError(
            f"prototypes and text_means must have the same shape (C, d) with C ≥ 2, got {tuple(rows.shape)} and "
            f"{tuple(columns.shape)}."
        )
    check.one_device(prototypes=rows, text_means=columns)
    for what, x in (("prototypes", rows), ("text_means", columns)):
        if bool((x == 0).all(1).any()):
            raise ValueError(f"{what} has a row of length 0, which has no direction; is a class without samples?")
    cosine = wide(of_length_one(rows)) @ wide(of_length_one(columns)).T
    classes = len(cosine)
    own = cosine.diagonal()
    return PrototypeAlignment(
        cosine=cosine,
        diagonal=float(own.mean()),
        off_diagonal=float((cosine.sum() - own.sum()) / (classes * (classes - 1))),
        matched=float(wide(cosine.argmax(1) == torch.arange(classes, device=cosine.device)).mean()),
    )


def class_means(features: Any, labels: Any, classes: int | None = None) -> Tensor:
    """Mean feature of each class.

    Args:
        features: (n, d).
        labels: (n,) class numbers.
        classes: how many there are; the largest label + 1 when None.

    Returns:
        (C, d), differentiable.

    Raises:
        ValueError: a class without samples, lengths that differ, NaN.

    Example:
        >>> import xmodal_lab as xl
        >>> xl.metrics.class_means([[1.0], [3.0], [10.0]], labels=[0, 0, 1])
        tensor([[ 2.],
                [10.]])
    """
    x = cloud("features", features)
    if classes is not None and check.integer("classes", classes, at_least=1) > len(x):
        raise ValueError(f"{classes} classes cannot all have a mean: there are only {len(x)} samples.")
    y = class_numbers("labels", labels, len(x), below=classes).to(x.device)
    count = torch.bincount(y, minlength=classes or 0)
    empty = (count == 0).nonzero()
    if len(empty):
        raise ValueError(f"class {int(empty[0])} has no sample, so it has no mean ({len(empty)} such classes).")
    return x.new_zeros(len(count), x.shape[1]).index_add(0, y, x) / count[:, None]


# -- clusters ----------------------------------------------------------------------------------------


def silhouette(features: Any, labels: Any, metric: str = "euclidean") -> float:
    """Mean silhouette (b - a) / max(a, b), -1 to 1, high for compact and separate classes (uml Fig 42).

    a: mean distance to the own class, b: to the nearest other class. By scikit-learn.

    Args:
        features: (n, d).
        labels: (n,) class numbers; between 2 and n - 1 different ones.
        metric: any that ``sklearn.metrics.silhouette_score`` knows.

    Returns:
        The mean over all points, a number.

    Warns:
        UserWarning: so many points that it takes more than about a minute.

    Raises:
        ValueError: one class, every sample a class of its own, lengths that differ, NaN.

    Example:
        >>> import xmodal_lab as xl
        >>> points, labels = [[0.0], [1.0], [10.0], [11.0]], [0, 0, 1, 1]
        >>> round(xl.metrics.silhouette(points, labels), 3)
        0.9
    """
    from sklearn.metrics import silhouette_score

    x, y = _clusters(features, labels)
    tell_if_long(f"the silhouette of {len(x)} points", len(x) ** 2, "take a random subset, or davies_bouldin")
    try:
        return float(silhouette_score(x, y, metric=metric))
    except (ValueError, TypeError) as error:
        raise ValueError(f"silhouette with metric {metric!r} failed: {error}") from None


def davies_bouldin(features: Any, labels: Any) -> float:
    """Davies-Bouldin index, ≥ 0, low for compact and separate classes (uml Fig 43). By scikit-learn.

    Arguments and errors as :func:`silhouette`.

    Example:
        >>> import xmodal_lab as xl
        >>> points, labels = [[0.0], [1.0], [10.0], [11.0]], [0, 0, 1, 1]
        >>> round(xl.metrics.davies_bouldin(points, labels), 3)
        0.1
    """
    from sklearn.metrics import davies_bouldin_score

    return float(davies_bouldin_score(*_clusters(features, labels)))


def _clusters(features: Any, labels: Any) -> tuple[Any, Any]:
    x = wide(cloud("features", features).detach().cpu())  # scikit-learn sums in the dtype that it is given
    x = x / magnitude(x)  # the scores do not change with the scale, but squares overflow and vanish
    y = class_numbers("labels", labels, len(x))
    classes = len(y.unique())
    if not 2 <= classes <= len(x) - 1:
        raise ValueError(
            f"cluster scores need at least 2 classes and a class with 2 samples, got {classes} class(es) "
            f"in {len(x)} samples."
        )
    return x.numpy(), y.numpy()
