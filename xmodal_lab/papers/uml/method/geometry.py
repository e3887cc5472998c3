"""What the classifier learned (App F): margins, clusters, prototypes, and a plane of decisions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from ....data.unpaired import Unpaired
from ....instruments import metrics
from ....utils import checks as check
from ....utils.torch_state import full_precision
from .training import Trained

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class Geometry:
    """Scores of one trained head on the test samples of its target.

    Attributes:
        margin: mean functional margin of what the head sees (App F.2, Eq 8). It grows with the features' length.
        margin_scale_free: the same, divided by the length of each feature: this compares nets.
        silhouette, davies_bouldin: of what the head sees (Fig 42, 43).
        alignment: mean cosine of a head row with its class's mean text embedding, minus that with the others'
            (Fig 44). Nearly a tautology for UML, whose loss pulls rows there; NaN without text of its width.
    """

    margin: float
    margin_scale_free: float
    silhouette: float
    davies_bouldin: float
    alignment: float


def geometry(data: Unpaired, trained: Trained) -> Geometry:
    """Margins, clusters and prototypes of a trained head.

    Args:
        data: what it was trained on.
        trained: see :func:`~xmodal_lab.papers.uml.method.training.train_heads`.

    Returns:
        The scores, one number each.

    Raises:
        ValueError: one class in the test split.
    """
    _fits(data, trained)
    x, y = data.test[trained.head.target]
    z, w = trained.embed(trained.head.target, x), trained.params["head"]
    return Geometry(
        margin=float(metrics.functional_margin(z, w, y).mean()),
        margin_scale_free=float(metrics.functional_margin(z, w, y, scale_free=True).mean()),
        silhouette=metrics.silhouette(z, y),
        davies_bouldin=metrics.davies_bouldin(z, y),
        alignment=_alignment(data, trained),
    )


def prototypes(data: Unpaired, trained: Trained, modality: str) -> metrics.PrototypeAlignment:
    """Cosines of the ``trained`` head's rows with the class means of ``modality`` in ``data`` (Fig 44).

    ``.cosine`` is the heat map.

    Raises:
        ValueError: a modality that is unknown, or lacks a class.
    """
    _fits(data, trained)
    check.one_of("modality", modality, data.modalities)
    x, y = data.train[modality]
    means = metrics.class_means(trained.embed(modality, x), y, len(data.classes))
    return metrics.prototype_alignment(trained.params["head"], means)


def confused(data: Unpaired, trained: Trained) -> list[int]:
    """Three classes that a head mixes up: the two that it confuses most on test samples, and the next one.

    Args:
        data, trained: as in :func:`geometry`.

    Returns:
        Three class numbers.

    Raises:
        ValueError: fewer than three classes.
    """
    _fits(data, trained)
    count = len(data.classes)
    if count < 3:
        raise ValueError(f"three classes are needed, the data have {count}.")
    x, y = data.test[trained.head.target]
    chosen = trained.logits(trained.head.target, x).argmax(1)
    mistakes = torch.zeros(count, count).index_put((y, chosen), torch.ones(len(y)), accumulate=True)
    mistakes = (mistakes + mistakes.T).fill_diagonal_(-1)
    first, second = divmod(int(mistakes.argmax()), count)
    with_either = (mistakes[first] + mistakes[second]).index_fill(0, torch.tensor([first, second]), -1)
    return [first, second, int(with_either.argmax())]


@full_precision()
def decision_plane(
    data: Unpaired, trained: Trained, classes: Sequence[int], points: int = 101
) -> tuple[xr.DataArray, xr.Dataset]:
    """Decisions in the plane through the test means of three classes (App F.1).

    The plane lies in the space of the target's embeddings, so heads trained with and without text can be compared on
    the same plane. Only the three classes compete.

    Args:
        data, trained: as in :func:`geometry`.
        classes: three class numbers.
        points: along each side (ours).

    Returns:
        The class at each point, dims (b, a), in units of the data; and the test samples of those classes projected
        there: ``x``, ``y``, ``label`` over ``sample``.

    Raises:
        ValueError: not three different classes; three means on a line.
    """
    import xarray as xr

    _fits(data, trained)
    three = [check.integer("class", c, at_least=0) for c in check.listed("classes", classes)]
    if len(three) != 3 or len(set(three)) != 3 or max(three) >= len(data.classes):
        raise ValueError(f"the plane goes through three different classes below {len(data.classes)}, got {three}.")
    points = check.integer("points", points, at_least=2)
    x, y = data.test[trained.head.target]
    means = torch.stack([x[y == c].flatten(1).mean(0) for c in three])
    centre = means.mean(0)
    first = means[1] - means[0]
    first = first / first.norm()
    second = means[2] - means[0]
    second = second - (second @ first) * first
    if not float(second.norm()) > 1e-6 * float((means[2] - means[0]).norm()):
        raise ValueError(f"the means of classes {three} lie on a line, which is no plane; choose others.")
    second = second / second.norm()
    some = torch.isin(y, torch.tensor(three))
    flat = x[some].flatten(1) - centre
    at = torch.stack([flat @ first, flat @ second], 1)
    reach = 1.1 * float(at.abs().max())
    axis = torch.linspace(-reach, reach, points)
    b, a = torch.meshgrid(axis, axis, indexing="ij")
    plane = centre + a.reshape(-1, 1) * first + b.reshape(-1, 1) * second
    logits = trained.logits(trained.head.target, plane.view(-1, *x.shape[1:]))[:, three]
    decided = torch.tensor(three)[logits.argmax(1)].view(points, points)
    coords = {"b": axis.numpy(), "a": axis.numpy()}
    samples = {
        "x": ("sample", at[:, 0].numpy()),
        "y": ("sample", at[:, 1].numpy()),
        "label": ("sample", y[some].numpy()),
    }
    return xr.DataArray(decided.numpy(), coords, ("b", "a"), "decision"), xr.Dataset(samples)


@full_precision()
def boundary_plane(data: Unpaired, trained: Trained, pair: Sequence[int]) -> xr.Dataset:
    """Test samples of two classes in the classifier's own plane, as the paper draws it (App F.1, Fig 38-40).

        axis 1 = (w_a - w_b) / ‖w_a - w_b‖,   axis 2 ∝ (μ_a - μ_b) without its part along axis 1

    with w the rows of the head and μ the test means of what the head sees. The decision boundary of the two is the
    line x = 0. Each head has its own plane: two heads' pictures have no axis in common (:func:`decision_plane` has).

    Args:
        data, trained: as in :func:`geometry`.
        pair: two class numbers, a and b.

    Returns:
        ``x``, ``y`` (projections on the axes) and ``label`` over ``sample``; attributes ``accuracy`` (share on the
        right side, in [0, 1]) and ``separation`` (distance of the means along axis 1 in units of the pooled sd).

    Raises:
        ValueError: not two different classes with test samples.
    """
    import xarray as xr

    _fits(data, trained)
    first, second = _pair(data, trained, pair)
    x, y = data.test[trained.head.target]
    some = (y == first) | (y == second)
    z, of = trained.embed(trained.head.target, x[some]).double(), y[some]
    w = trained.params["head"].double()
    along = w[first] - w[second]
    along = along / along.norm().clamp(min=1e-12)
    apart = z[of == first].mean(0) - z[of == second].mean(0)
    across = apart - (apart @ along) * along
    across = across / across.norm().clamp(min=1e-12)
    at = z @ along
    side = [at[of == c] for c in (first, second)]
    spread = torch.stack([s.var(correction=0) for s in side]).mean().sqrt().clamp(min=1e-12)
    right = ((at > 0) == (of == first)).double().mean()
    return xr.Dataset(
        {"x": ("sample", at.numpy()), "y": ("sample", (z @ across).numpy()), "label": ("sample", of.numpy())},
        attrs={"accuracy": float(right), "separation": float((side[0].mean() - side[1].mean()) / spread)},
    )


def nearest_classes(data: Unpaired, modality: str) -> list[tuple[int, int]]:
    """Each class with the one whose mean training sample is nearest: what is hard, without a look at test or head.

    Args:
        data: see :func:`~xmodal_lab.data.unpaired.unpaired`.
        modality: whose samples.

    Returns:
        Pairs of class numbers, the nearest first.

    Raises:
        ValueError: an unknown modality, or fewer than two classes in it.
    """
    check.instance("data", data, Unpaired, "make it with uml.unpaired(...)")
    check.one_of("modality", modality, data.modalities)
    x, y = data.train[modality]
    there = y.unique()
    if len(there) < 2:
        raise ValueError(f"{modality!r} has {len(there)} class; two are needed for one to be nearest to the other.")
    means = torch.stack([x[y == c].flatten(1).double().mean(0) for c in there])
    far = torch.cdist(means, means).fill_diagonal_(torch.inf)
    return [(int(c), int(there[k])) for c, k in zip(there, far.argmin(1), strict=True)]


def _pair(data: Unpaired, trained: Trained, pair: Sequence[int]) -> tuple[int, int]:
    two = [check.integer("class", c, at_least=0) for c in check.listed("pair", pair)]
    there = set(data.test[trained.head.target][1].tolist())
    if len(two) != 2 or len(set(two)) != 2 or not set(two) <= there:
        raise ValueError(f"the boundary lies between two different classes with test samples, got {two}.")
    return two[0], two[1]


def _fits(data: Unpaired, trained: Trained) -> None:
    check.instance("data", data, Unpaired, "make it with uml.unpaired(...)")
    check.instance("trained", trained, Trained, "one of uml.train_heads(...)")
    check.one_of("target with a test split", trained.head.target, data.test)


def _alignment(data: Unpaired, trained: Trained) -> float:
    for m in trained.head.auxiliary:
        x, y = data.train[m]
        if x.shape[1] == trained.params["head"].shape[1] and len(y.unique()) == len(data.classes):
            found = prototypes(data, trained, m)
            return found.diagonal - found.off_diagonal
    return float(np.nan)
