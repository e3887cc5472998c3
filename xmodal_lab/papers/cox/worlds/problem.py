"""The problem: one modality is out, the others are in and seen through frozen perceptors.

    problem = of_dataset(load("shapes"), out="audio", perceptor="bound")
    problem = of_views({"touch": t, "sight": s, "word": w}, labels, out="touch")

The out-of-modal rows are in the order of the in-modal ones, so that the few labelled rows are
true pairs; the methods look at that order for labelled rows only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ....data.drawing import shuffled_classes
from ....data.labels import SORTS, task_of
from ....data.pairing import Pairing
from ....data.samples import Dataset, Samples
from ....utils import checks as check
from ....utils.checks import class_numbers
from .perceptors import perceive

# Pictures and spectrograms with a longer side are averaged 2x2: the learner is a small MLP (ours).
POOL_FROM = 16


@dataclass(frozen=True, eq=False)
class Split:
    """Rows of a problem.

    Attributes:
        out: (n, p) inputs of the out-of-modal learner: flat, standardised by the training split.
        inside: in-modal name -> (n, d_k) features z_k = g_k(x_k) of the frozen perceptors.
        labels: (n,) class numbers. Those of ``out`` are hidden from the methods, save the labelled share.
        aligned: (n, d) features of a perceptor that has seen the out-of-modal data too, or None.
    """

    out: Tensor
    inside: Mapping[str, Tensor]
    labels: Tensor
    aligned: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: str | torch.device) -> Split:
        """The same rows with all tensors on ``device``."""
        return Split(
            self.out.to(device), {m: z.to(device) for m, z in self.inside.items()}, self.labels.to(device),
            None if self.aligned is None else self.aligned.to(device),
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Problem:
    """An out-of-modal problem (cox Sec 3.1).

    Attributes:
        train, test: the splits; ``test`` is what is scored (a validation split while choosing settings).
        out: name of the modality that is out.
        classes: names of the classes.

    Raises:
        ValueError: fewer than two in-modal modalities, a class without training rows, splits that do not fit.
    """

    train: Split
    test: Split
    out: str
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        check.instance("out", self.out, str)
        object.__setattr__(self, "classes", tuple(check.listed("classes", self.classes)))
        for name, split in (("train", self.train), ("test", self.test)):
            check.instance(name, split, Split)
        if len(self.train.inside) < 2:
            raise ValueError(
                f"agreement needs at least two in-modal modalities, got {len(self.train.inside)} "
                f"({', '.join(self.train.inside) or 'none'}) beside {self.out!r}; add a view."
            )
        for name, split in (("train", self.train), ("test", self.test)):
            labels = split.labels
            if task_of(labels) != "classes" or int(labels.min()) < 0 or int(labels.max()) >= len(self.classes):
                raise ValueError(f"{name}: labels must be class numbers from 0 to {len(self.classes) - 1}.")
            sizes = {"out": len(split.out), **{m: len(z) for m, z in split.inside.items()}}
            wrong = {m: n for m, n in sizes.items() if n != len(labels)}
            if wrong:
                raise ValueError(f"{name}: {len(labels)} labels, but {wrong} rows.")
        there = torch.bincount(self.train.labels, minlength=len(self.classes))
        empty = [self.classes[int(c)] for c in (there == 0).nonzero()[:, 0]]
        if empty:
            raise ValueError(
                f"class {empty[0]!r} has no training row, so no anchor can have it ({len(empty)} such classes); "
                "give rows of it, or leave the class out."
            )

    @property
    def inside(self) -> tuple[str, ...]:
        """Names of the in-modal modalities, k = 1 … K."""
        return tuple(self.train.inside)

    @property
    def device(self) -> torch.device:
        """Where its tensors are."""
        return self.train.labels.device

    def to(self, device: str | torch.device) -> Problem:
        """The same problem with all tensors on ``device``; itself where they are there already."""
        if torch.device(device) == self.device:
            return self
        return replace(self, train=self.train.to(device), test=self.test.to(device))

    def __repr__(self) -> str:
        return (
            f"Problem(out={self.out!r}, in={self.inside}, {len(self.train)} train, {len(self.test)} test, "
            f"{len(self.classes)} classes)"
        )


def of_views(
    views: Mapping[str, Any],
    labels: Any,
    out: str,
    *,
    test_views: Mapping[str, Any] | None = None,
    test_labels: Any = None,
    test_share: float = 0.3,
    inside: Sequence[str] | None = None,
    perceptor: str = "given",
    seed: int = 0,
    **options: Any,
) -> Problem:
    """A problem from any views.

    Args:
        views: modality name -> (N, ...) numbers; row i of each belongs to instance i.
        labels: (N,) class numbers.
        out: the modality that is out.
        test_views, test_labels: a test split; ``test_share`` of the rows, drawn per class, when not given.
        test_share: in (0, 1) (ours).
        inside: in-modal names; all others when not given.
        perceptor: "given" takes the views as features (those of a frozen encoder); others as in
            :func:`xmodal_lab.papers.cox.perceive`.
        seed: of the split.
        options: further arguments of ``perceive``.

    Returns:
        The problem, with the features of its perceptors.

    Raises:
        ValueError, TypeError: unknown modality, lengths that differ, NaN, a class without rows.
    """
    check.mapping("views", views, "tensors")
    others = views if inside is None else [inside] if isinstance(inside, str) else check.listed("inside", inside)
    names = tuple(dict.fromkeys(check.one_of("modality", m, views) for m in (out, *others)))
    given = Samples({m: check.as_tensor(f"views[{m!r}]", views[check.one_of("modality", m, views)]) for m in names},
                    check.as_tensor("labels", labels)).to("cpu")  # fmt: skip
    if (test_views is None) != (test_labels is None):
        raise ValueError("give test_views and test_labels, or neither.")
    if test_views is None:
        held = _held_out(given.labels, test_share, seed)
        train, test = given.subset(~held), given.subset(held)
    else:
        train = given
        test = Samples(
            {m: test_views[check.one_of("modality of test_views", m, test_views)] for m in names}, test_labels
        ).to("cpu")
    for s in (train, test):
        _check_classes(s.labels)
    count = 1 + max(int(class_numbers("labels", s.labels, len(s)).max()) for s in (train, test))
    dataset = Dataset("views", train, test, tuple(str(c) for c in range(count)))
    return of_dataset(dataset, out, inside=inside, perceptor=perceptor, **options)


def _check_classes(labels: Tensor, known: bool = False) -> None:
    """Refuse labels that are no classes; with ``known`` unknown ones (-1) too."""
    sort = task_of(labels)
    if sort != "classes" or (known and int(labels.min()) < 0):
        found = SORTS[sort] if sort != "classes" else "unknown (-1) in some rows"
        raise ValueError(f"cox needs class labels (0, 1, …) on all rows; these are {found}.")


def of_dataset(
    dataset: Dataset,
    out: str,
    *,
    inside: Sequence[str] | None = None,
    perceptor: str = "supervised",
    split: str = "test",
    aligned: bool = True,
    **options: Any,
) -> Problem:
    """A problem from a dataset. Rows that lack a view get one of their own class, fixed.

    Args:
        dataset: with at least three modalities.
        out: the one that is out.
        inside: the in-modal ones; all others when not given.
        perceptor: "supervised" | "bound" | "random" | "given".
        split: which split is scored, "test" or "val".
        aligned: also make the features of the upper limit, a perceptor that has seen the modality that is out.
        options: ``steps``, ``width``, ``seed``, ``memory`` of the perceptors.

    Returns:
        The problem, with the features of its perceptors.

    Raises:
        ValueError: unknown modality or split, fewer than two in-modal modalities.
    """
    check.instance("dataset", dataset, Dataset, "the whole, such as xl.load('shapes'), not one split of it")
    dataset = dataset.to("cpu")  # where problems are made; a run moves them to its device
    check.one_of("modality", out, dataset.modalities)
    names = tuple(m for m in check.modalities_of(inside, dataset.modalities) if m != out)
    if len(names) < 2:
        raise ValueError(
            f"agreement needs at least two in-modal modalities, got {len(names)} ({', '.join(names) or 'none'}) "
            f"beside {out!r}; name more in inside=, or add a view."
        )
    scored = dataset.splits[check.one_of("split", split, dataset.splits)]
    both = [_filled(s, [m for m in dataset.modalities if m in (out, *names)]) for s in (dataset.train, scored)]
    classes = dataset.classes or tuple(str(c) for c in range(int(both[0].labels.max()) + 1))
    for samples in both:
        _check_classes(samples.labels, known=True)
    inputs = [_flat(samples.inputs[out]) for samples in both]
    mean, spread = inputs[0].mean(0), inputs[0].std(0)
    # A constant input (the border of a picture) stays near 0 instead of blowing up.
    inputs = [(x - mean) / (spread + 1e-3 * spread.max().clamp(min=1e-12)) for x in inputs]
    seen = perceive(both, dataset.kinds, names, perceptor, classes=len(classes), **options)
    upper: Any = (None, None)
    if aligned:
        upper = perceive(both, dataset.kinds, (*names, out), perceptor, classes=len(classes), only=out, **options)[out]
    train, test = (Split(x, {m: seen[m][i] for m in names}, both[i].labels, upper[i]) for i, x in enumerate(inputs))
    return Problem(train, test, out, classes)


def _filled(samples: Samples, names: Sequence[str]) -> Samples:
    pairs = Pairing("fixed", rows="all").draw(samples, names)
    return replace(
        samples.select(names).subset(pairs.rows), inputs={m: samples.inputs[m][pairs.index[m]] for m in names},
        present={}, strings={},
    )  # fmt: skip


def _flat(x: Tensor) -> Tensor:
    if x.ndim == 4 and min(x.shape[2:]) > POOL_FROM:
        x = F.avg_pool2d(x, 2)
    if x.numel() == 0:
        raise ValueError(f"the modality that is out has no numbers, shape {tuple(x.shape)}.")
    return x.flatten(1)


def _held_out(labels: Tensor, share: float, seed: int) -> Tensor:
    share = check.positive("test_share", check.share("test_share", share))
    generator = torch.Generator().manual_seed(check.integer("seed", seed, at_least=0))
    held = torch.zeros(len(labels), dtype=torch.bool)
    for _, rows in shuffled_classes(labels, generator):
        held[rows[: max(1, round(share * len(rows)))]] = True
    if bool(held.all()):
        raise ValueError("nothing is left to train on; lower test_share, or give more rows.")
    return held
