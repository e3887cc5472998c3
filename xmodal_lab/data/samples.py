"""Samples and datasets: several views of the same thing, side by side.

A row may lack a view. ``present[m]`` says which rows have modality ``m``; where it is
False the input is zeros, as in the dml paper (an absent modality is the zero vector).
That one mask also holds data that were never paired: 25 images and 160 clips of a class
are 160 rows, of which 25 have an image.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ..utils import checks as check
from . import kinds as _kinds
from .doors import Doors
from .kinds import KINDS as KINDS
from .labels import as_labels, check_classes, check_from_zero, task_of

_SCORED = "scored"  # in the provenance of a dataset whose test rows were cut


@dataclass(frozen=True, eq=False)
class Samples:
    """N samples, each seen through one or more modalities.

    Attributes:
        inputs: modality name -> tensor (N, ...): floating, or int64 for token ids.
        labels: (N,) int64 class numbers, -1 where unknown; (N, C) bool where a row has several classes; or
            (N,) or (N, D) float targets.
        present: modality name -> (N,) bool; all True when not given, but for texts whose string is empty.
        latents: known causes of the samples, name -> (N, ...), or None.
        strings: modality name -> N strings (captions, file names), where there are any.
        kinds: modality name -> its kind, see :class:`Dataset`, where name and dtype do not tell. "tokens" stay whole
            numbers, 0 is padding; other whole numbers become float32.

    Raises:
        ValueError: no sample, unequal lengths, NaN or Inf in a present input, a label below -1, one-hot labels,
            whole numbers that may be token ids or quantities, a modality name that no net can have.
        TypeError: labels that are words.

    Example:
        >>> import torch
        >>> import xmodal_lab as xl
        >>> views = {"image": torch.rand(3, 1, 8, 8), "audio": torch.rand(3, 32)}
        >>> seen = {"image": torch.tensor([True, True, False])}  # the third was only heard
        >>> samples = xl.Samples(views, labels=[0, 1, 1], present=seen)
        >>> len(samples), len(samples.complete())
        (3, 2)
    """

    inputs: Mapping[str, Tensor]
    labels: Tensor
    present: Mapping[str, Tensor] = field(default_factory=dict)
    latents: Mapping[str, Tensor] | None = None
    strings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for what, of in (
            ("inputs", "tensors"), ("present", "masks"), ("strings", "lists of text"), ("kinds", "kinds of modality"),
        ):  # fmt: skip
            check.mapping(what, getattr(self, what), of)
        if not self.inputs:
            raise ValueError("Samples need at least one modality in `inputs`, got none.")
        labels = as_labels(self.labels)
        n = len(labels)
        strings = {name: tuple(check.listed(f"strings[{name!r}]", lines)) for name, lines in self.strings.items()}
        for name, lines in strings.items():
            if len(lines) != n:
                raise ValueError(f"strings[{name!r}] must have {n} entries, got {len(lines)}.")
        kinds = {m: _kinds.kind_of(f"kind of modality {m!r}", kind) for m, kind in self.kinds.items()}
        inputs: dict[str, Tensor] = {}
        present: dict[str, Tensor] = {}
        for name, value in self.inputs.items():
            view = _view(_kinds.check_name(name), value, n, kinds)
            mask = _mask(name, self.present.get(name), view, strings.get(name), kinds.get(name, name))
            if bool(mask.all()):
                check.finite(f"inputs[{name!r}]", view)
            else:
                check.finite(f"inputs[{name!r}]", view[mask])
                # What a row lacks may hold anything; zeros, so that no NaN of it reaches a gradient.
                view = torch.where(mask.view(-1, *[1] * (view.ndim - 1)), view, torch.zeros_like(view))
            inputs[name], present[name] = check.ordinary(view), check.ordinary(mask)
        for name in self.present:
            check.one_of("modality in `present`", name, inputs)
        latents: dict[str, Tensor] = {}
        for name, given in check.mapping("latents", {} if self.latents is None else self.latents, "tensors").items():
            latents[name] = check.as_tensor(f"latents[{name!r}]", given)
            if latents[name].shape[:1] != (n,):
                raise ValueError(f"latents[{name!r}] must have {n} rows, got shape {tuple(latents[name].shape)}.")
        set_ = object.__setattr__
        set_(self, "labels", labels)
        set_(self, "inputs", inputs)
        set_(self, "present", present)
        set_(self, "strings", strings)
        set_(self, "kinds", kinds)
        if self.latents is not None:
            set_(self, "latents", latents)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the modalities, in order."""
        return tuple(self.inputs)

    def subset(self, index: Tensor | Sequence[int] | slice) -> Samples:
        """The rows that ``index`` names (integers, a bool mask, or a slice), in its order."""
        if not isinstance(index, slice):
            index = check.as_tensor("index", index).cpu()
            if index.numel() == 0:
                raise ValueError("subset is empty: the index selects no row.")
            if index.ndim != 1 or index.is_floating_point() or index.is_complex():
                raise TypeError(
                    f"index must be a list of whole numbers, a bool mask or a slice, got {index.dtype} of shape "
                    f"{tuple(index.shape)}."
                )
            mask = index.dtype == torch.bool
            index = index if mask else index.long()
            wrong = (
                len(index) != len(self) if mask else not -len(self) <= int(index.min()) <= int(index.max()) < len(self)
            )
            if wrong:
                raise ValueError(
                    f"index must name rows of {len(self)}, as numbers below that or a mask of that length."
                )
        # One list of rows for all: labels, masks and texts may lie on another device than the inputs.
        rows = torch.arange(len(self))[index]
        if len(rows) == 0:
            raise ValueError("subset is empty: the index selects no row.")

        def take(tensor: Tensor) -> Tensor:
            return tensor[rows.to(tensor.device)]

        chosen = rows.tolist()
        return replace(
            self,
            inputs={m: take(x) for m, x in self.inputs.items()},
            labels=take(self.labels),
            present={m: take(p) for m, p in self.present.items()},
            latents=None if self.latents is None else {k: take(v) for k, v in self.latents.items()},
            strings={m: tuple(lines[i] for i in chosen) for m, lines in self.strings.items()},
        )

    def select(self, modalities: str | Sequence[str]) -> Samples:
        """The same rows with only the named modalities."""
        names = check.modalities_of(modalities, self.modalities)
        return replace(
            self,
            inputs={m: self.inputs[m] for m in names},
            present={m: self.present[m] for m in names},
            strings={m: s for m, s in self.strings.items() if m in names},
            kinds={m: k for m, k in self.kinds.items() if m in names},
        )

    def complete(self, modalities: str | Sequence[str] | None = None) -> Samples:
        """Only the rows in which every named modality is present."""
        names = check.modalities_of(modalities, self.modalities)
        rows = torch.stack([self.present[m] for m in names]).all(0)
        if not bool(rows.any()):
            raise ValueError(f"no row has all of {', '.join(names)}; ask for fewer modalities.")
        return self if bool(rows.all()) else self.subset(rows)

    def to(self, device: str | torch.device | None = None, dtype: torch.dtype | None = None) -> Samples:
        """The same samples on another device, or with inputs of another floating dtype; token ids stay whole.

        Raises:
            TypeError: no floating dtype.
        """
        device = None if device is None else check.device(device)
        if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
            raise TypeError(f"dtype must be a floating dtype such as torch.float64, got {dtype!r}.")
        return replace(
            self,
            inputs={
                m: x.to(device=device, dtype=dtype if x.is_floating_point() else None) for m, x in self.inputs.items()
            },
            labels=self.labels.to(device),
            present={m: p.to(device) for m, p in self.present.items()},
            latents=None if self.latents is None else {k: v.to(device) for k, v in self.latents.items()},
        )


def _view(name: str, value: object, n: int, kinds: Mapping[str, str]) -> Tensor:
    """One modality's tensor (n, ...), floating or token ids."""
    view = check.as_tensor(f"inputs[{name!r}]", value)
    if view.is_complex():
        raise TypeError(
            f"inputs[{name!r}] must be real numbers, got {view.dtype}; give torch.view_as_real(x), or x.abs()."
        )
    if view.ndim < 2 or len(view) != n:
        remedy = "; use x[:, None] for one number a row" if view.shape == (n,) else ""
        counts = f": {len(view)} rows against {n} labels" if view.ndim and len(view) != n else remedy
        raise ValueError(f"inputs[{name!r}] must have shape ({n}, ...) like labels, got {tuple(view.shape)}{counts}.")
    tokens = _kinds.whole_tokens(name, view, kinds.get(name))
    if tokens is not None:
        return tokens
    return view if view.is_floating_point() else view.float()


def _mask(name: str, given: object, view: Tensor, lines: Sequence[str] | None, kind: str) -> Tensor:
    """Which rows have the modality, (n,) bool; not those whose text is empty, where nothing is said."""
    n = len(view)
    if given is None:
        mask = torch.ones(n, dtype=torch.bool, device=view.device)
        if kind == "text" and lines is not None:
            mask = torch.tensor([bool(str(line).strip()) for line in lines], device=view.device)
        return mask
    mask = check.as_tensor(f"present[{name!r}]", given)
    if mask.dtype != torch.bool or mask.shape != (n,):
        raise ValueError(f"present[{name!r}] must be bool of shape ({n},), got {mask.dtype} {tuple(mask.shape)}.")
    return mask


def _widened(samples: Samples) -> Samples:
    """The samples with inputs of 16 bits in float32: those hold features well, and sums of them badly."""
    if all(x.element_size() >= 4 for x in samples.inputs.values()):
        return samples
    return replace(samples, inputs={m: x.float() if x.element_size() < 4 else x for m, x in samples.inputs.items()})


@dataclass(frozen=True, eq=False)
class Dataset(Doors):
    """A training and a test split (and perhaps a validation split) of one task.

    Attributes:
        name: the name that ``xl.load`` knows it by, or the user's own.
        train, test: :class:`Samples` with the same modalities. Inputs of 16 bits become float32, so that a net for
            them does not train in half precision.
        classes: names of the classes; label c means ``classes[c]``. Empty for regression.
        val: a validation split, or None. Choose settings on this one, never on ``test``.
        kinds: modality -> "image" (C, H, W), "audio" (spectrograms or waves), "text" (a vector that stands for
            ``Samples.strings``), "tokens" (L,) int64, "vector" (D,) ("features" is the same) or "series" (T, D); says
            which encoder fits. Told by name, dtype and shape where it is not given.
        provenance: where the data come from: recipe, seed, options, source, licence.

    Raises:
        ValueError: a label that has no class, classes numbered from 1, float labels beside classes, pictures
            whose channels stand last, splits whose modalities, shapes or sort of labels differ.

    Example:
        >>> import torch
        >>> import xmodal_lab as xl
        >>> views = {"touch": torch.rand(6, 4), "smell": torch.rand(6, 3)}
        >>> samples = xl.Samples(views, labels=[0, 1, 0, 1, 0, 1])
        >>> xl.Dataset("mine", samples.subset(slice(0, 4)), samples.subset(slice(4, 6)), classes=("no", "yes"))
        Dataset('mine': train 4, test 2; 2 classes; touch 4, smell 3)
    """

    name: str
    train: Samples
    test: Samples
    classes: tuple[str, ...] = ()
    val: Samples | None = None
    kinds: Mapping[str, str] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check.instance("the name of a dataset", self.name, str)
        for split, samples in self.splits.items():
            check.instance(f"the {split} split", samples, Samples)
            object.__setattr__(self, split, _widened(samples))
        object.__setattr__(self, "classes", tuple(check.listed("classes", self.classes)))
        for what, of in (("kinds", "kinds of modality"), ("provenance", "facts")):
            check.mapping(what, getattr(self, what), of)
        for split, samples in self.splits.items():
            if samples.modalities != self.train.modalities:
                raise ValueError(
                    f"{self.name}.{split} has modalities {samples.modalities}, train has {self.train.modalities}."
                )
            for m, x in samples.inputs.items():
                if x.shape[1:] != self.train.inputs[m].shape[1:]:
                    raise ValueError(
                        f"{self.name}.{split}.inputs[{m!r}] has shape {tuple(x.shape[1:])} per sample, "
                        f"train has {tuple(self.train.inputs[m].shape[1:])}."
                    )
            if task_of(samples.labels) != self.task or samples.labels.shape[1:] != self.train.labels.shape[1:]:
                raise ValueError(
                    f"{self.name}.{split} has labels {samples.labels.dtype} {tuple(samples.labels.shape)}, train has "
                    f"{self.train.labels.dtype} {tuple(self.train.labels.shape)}; give all splits the same sort."
                )
            if self.classes:
                check_classes(f"{self.name}.{split}", samples.labels, self.classes)
        if not self.classes:
            check_from_zero(self.name, torch.cat([s.labels.cpu() for s in self.splits.values()]))
        kinds = {}
        for m, x in self.train.inputs.items():
            told = self.kinds.get(m, self.train.kinds.get(m))
            kinds[m] = _kinds.guessed(m, x) if told is None else _kinds.kind_of(f"kind of modality {m!r}", told)
            if kinds[m] == "image":
                _kinds.check_channels(f"{self.name}: samples of {m!r}", x.shape[1:])
        object.__setattr__(self, "kinds", kinds)
        object.__setattr__(self, "provenance", dict(self.provenance))

    @property
    def task(self) -> str:
        """What the labels ask for: "classes", "labels" (several classes a row) or "values" (real numbers)."""
        return task_of(self.train.labels)

    @property
    def outputs(self) -> int:
        """How many numbers a net answers with: one per class, or one per real target."""
        labels = self.train.labels
        if self.task == "classes":
            return len(self.classes) or max(int(s.labels.max()) for s in self.splits.values()) + 1
        return 1 if labels.ndim == 1 else labels.shape[1]

    @property
    def vocabulary(self) -> dict[str, int]:
        """Modality of kind "tokens" -> how many ids a table needs: the largest in any split, and 0 for padding."""
        names = [m for m, x in self.train.inputs.items() if not x.is_floating_point()]
        return {m: max(int(s.inputs[m].max()) for s in self.splits.values()) + 1 for m in names}

    @property
    def splits(self) -> dict[str, Samples]:
        """The splits that exist, by name."""
        both = {"train": self.train, "test": self.test}
        return both if self.val is None else {**both, "val": self.val}

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the modalities, in order."""
        return self.train.modalities

    @cached_property
    def fingerprint(self) -> str:
        """Of all numbers in it, 16 hex digits: other data under the same name have another one."""
        digest = hashlib.sha256()
        for samples in self.splits.values():
            for tensor in (*samples.inputs.values(), *samples.present.values(), samples.labels):
                for rows in tensor.split(1024):  # a mapped file may be larger than memory
                    digest.update(rows.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Modality -> shape of one sample."""
        return {m: tuple(x.shape[1:]) for m, x in self.train.inputs.items()}

    def to(self, device: str | torch.device | None = None, dtype: torch.dtype | None = None) -> Dataset:
        """The same dataset on another device, or with inputs of another floating dtype.

        Raises:
            ValueError: a dtype of 8 or 16 bits, which no net should be trained in.
        """
        if isinstance(dtype, torch.dtype) and dtype.is_floating_point and dtype.itemsize < 4:
            raise ValueError(f"datasets are held in torch.float32 or torch.float64, got {dtype}; cast a split instead.")
        moved: dict[str, Any] = {split: samples.to(device, dtype) for split, samples in self.splits.items()}
        return replace(self, **moved)

    @property
    def _answers(self) -> str:
        if self.task == "values":
            columns = 1 if self.train.labels.ndim == 1 else self.train.labels.shape[1]
            return "real values" if columns == 1 else f"{columns} real values"
        several = ", several a row" if self.task == "labels" else ""
        return f"{len(self.classes)} classes{several}"

    def __repr__(self) -> str:
        views = ", ".join(f"{m} {'x'.join(map(str, s))}" for m, s in self.shapes.items())
        sizes = ", ".join(f"{split} {len(samples)}" for split, samples in self.splits.items())
        return f"Dataset({self.name!r}: {sizes}; {self._answers}; {views})"


def judged_alike(dataset: Dataset) -> Dataset:
    """The dataset whose held-out splits are cut to the rows that are complete in all its modalities.

    Nets that see different modalities are then compared on the same rows. Otherwise a second modality of pure noise
    that is missing where the task is hard would seem to help: the net that needs it would be scored on the easy rows.
    A split in which no row is complete stays as it is: on it only nets of fewer modalities can be scored.

    Args:
        dataset: the whole, with its splits.

    Returns:
        The same dataset, where all held-out rows are complete; :func:`scored_on` tells of those that were cut off.

    Raises:
        TypeError: no dataset.
    """
    check.instance("dataset", dataset, Dataset, "the whole, not one split of it")
    cut = {}
    for name, samples in dataset.splits.items():
        whole = torch.stack([samples.present[m] for m in dataset.modalities]).all(0)
        if name == "train" or bool(whole.all()) or not bool(whole.any()):
            continue
        cut[name] = samples.complete(dataset.modalities)
    if not cut:
        return dataset
    told = {_SCORED: rows_said(len(cut["test"]), len(dataset.test), dataset.modalities)} if "test" in cut else {}
    return replace(dataset, provenance={**dataset.provenance, **told}, **cut)  # type: ignore[arg-type]


def scored_on(dataset: object) -> str:
    """On how many test rows all arms are scored, where :func:`judged_alike` cut a dataset.

    Args:
        dataset: any dataset, or none.

    Returns:
        A sentence; "" where it is all rows.
    """
    return str(dataset.provenance.get(_SCORED, "")) if isinstance(dataset, Dataset) else ""


def rows_said(rows: int, of: int, modalities: Sequence[str]) -> str:
    """That some of the test rows are scored.

    Args:
        rows: how many are.
        of: how many there are.
        modalities: what those have that are.

    Returns:
        A sentence; "" where it is all rows.
    """
    return "" if rows == of else f"Scored on {rows} of {of} test rows, those with {' and '.join(modalities)}."
