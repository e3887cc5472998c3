"""Embeddings of any number of modalities that were never paired, and k-shot samples of them."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..utils import checks as check
from ..utils.checks import class_numbers
from ..utils.random import mixed
from .labels import SORTS, task_of
from .samples import Dataset, Samples

Split = Mapping[str, tuple[Tensor, Tensor]]  # modality -> (x (n, ...), labels (n,))

# The paper averages three fixed seeds (as Lin et al. 2023); here a seed is any number, these are the ledger's.
SHOT_SEEDS = (0, 1, 2, 3, 4)


@dataclass(frozen=True, eq=False)
class Unpaired:
    """Training embeddings per modality, each with its own rows and labels; held-out ones of possible targets.

    Attributes:
        train: modality -> (x (n_m, ...), labels (n_m,)). Sizes, numbers of rows and classes may differ.
        test, val: the same, for the modalities that can be a target.
        classes: names; label c means ``classes[c]``.
    """

    train: Split
    test: Split
    val: Split = field(default_factory=dict)
    classes: tuple[str, ...] = ()

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names, in order."""
        return tuple(self.train)

    @property
    def name(self) -> str:
        """What experiments on it are called."""
        return "own embeddings"

    @property
    def fingerprint(self) -> str:
        """A digest of the numbers, so that a store knows other data under the same name."""
        digest = hashlib.sha256()
        for split in (self.train, self.val, self.test):
            for m, (x, y) in split.items():
                digest.update(m.encode() + x.cpu().contiguous().numpy().tobytes() + y.cpu().numpy().tobytes())
        return digest.hexdigest()[:16]

    def to(self, device: str | torch.device) -> Unpaired:
        """The same rows with all tensors on ``device``."""
        here = torch.device(device)
        if all(x.device == here for split in (self.train, self.test, self.val) for x, _ in split.values()):
            return self

        def there(split: Split) -> dict[str, tuple[Tensor, Tensor]]:
            return {m: (x.to(device), y.to(device)) for m, (x, y) in split.items()}

        return Unpaired(there(self.train), there(self.test), there(self.val), self.classes)

    def only_in(self) -> dict[str, tuple[int, ...]]:
        """Modality -> classes of which it has no training sample: what each cannot teach."""
        everything = set(range(len(self.classes)))
        gaps = {m: sorted(everything - set(y.unique().tolist())) for m, (_, y) in self.train.items()}
        return {m: tuple(missing) for m, missing in gaps.items() if missing}


def unpaired(
    train: Mapping[str, Any] | Dataset, test: Mapping[str, Any] | None = None, val: Mapping[str, Any] | None = None,
    classes: Sequence[str] | None = None, *, scale: bool = True,
) -> Unpaired:  # fmt: skip
    """Embeddings for UML, from a dataset or from ``{"image": (x, labels), "text": (z, labels), …}``.

    They are kept on the CPU; training moves them to its device.

    Rows of different modalities need not belong together, and are not treated as if they did. A class may be
    present in some modalities only: the head has a row for it, and the modalities that have it train that row.

    Args:
        train: a :class:`~xmodal_lab.data.samples.Dataset` (its pairing is ignored; absent inputs are left out), or
            modality -> (x (n, ...), labels (n,)).
        test, val: the same, for the modalities that shall be a target; not with a Dataset, which has its own.
        classes: names; numbers when left out.
        scale: centre each modality's vectors by its training mean and divide by their mean length, so that one
            learning rate suits all (ours). Samples that are no vectors stay as they are.

    Returns:
        The embeddings by modality, float32, with their labels.

    Raises:
        ValueError, TypeError: no modality, NaN, labels that are no class numbers, lengths that differ, a held-out
            modality that is not trained, or one whose samples have another shape.
    """
    if isinstance(train, Dataset):
        if test is not None or val is not None or classes is not None:
            raise ValueError("a Dataset brings its own test, val and classes; give it alone.")
        names = train.classes
        held = {split: _rows(samples) for split, samples in train.splits.items()}
        return unpaired(held["train"], held["test"], held.get("val"), names or None, scale=scale)
    if classes is not None:
        check.listed("classes", classes)
    found = {
        split: _checked(split, {} if given is None else given)
        for split, given in (("train", train), ("test", test), ("val", val))
    }
    if not found["train"]:
        raise ValueError("there is no modality to train on; give {'image': (x, labels), 'text': (z, labels), …}.")
    for split in ("test", "val"):
        for m, (x, _) in found[split].items():
            check.one_of(f"modality in {split}", m, found["train"])
            if x.shape[1:] != found["train"][m][0].shape[1:]:
                raise ValueError(
                    f"{split} samples of {m!r} have shape {tuple(x.shape[1:])}, training samples "
                    f"{tuple(found['train'][m][0].shape[1:])}; embed both with one encoder."
                )
    top = 1 + max(int(y.max()) for some in found.values() for _, y in some.values())
    named = tuple(map(str, range(top))) if classes is None else tuple(map(str, classes))
    if top > len(named):
        raise ValueError(f"there is a label {top - 1}, but only {len(named)} classes (0 to {len(named) - 1}).")
    if len(named) < 2:
        raise ValueError("a classifier needs at least 2 classes, got 1.")
    if scale:
        found = {split: _scaled(part, found["train"]) for split, part in found.items()}
    return Unpaired(found["train"], found["test"], found["val"], named)


def draw_shots(labels: Tensor, shots: int | None, seed: int, what: str, classes: Sequence[str] = ()) -> Tensor:
    """Rows of a k-shot sample: ``shots`` of each class that is there; all rows for None.

    The same seed gives nested samples: those of 2 shots are among those of 4.

    Args:
        labels: (n,) class numbers.
        shots: of each class; None for every row.
        seed: of the draw; ``what`` (the modality's name) gives each modality its own stream.
        what, classes: names for the error.

    Returns:
        Row numbers (shots · classes,).

    Raises:
        ValueError: a class with some samples, but fewer than ``shots``: says which.
    """
    what = check.instance("what", what, str)
    labels = class_numbers(f"labels of {what}", labels, check.as_tensor("labels", labels).numel())
    if shots is None:
        return torch.arange(len(labels))
    shots, seed = check.integer(f"shots of {what}", shots, at_least=0), check.integer("seed", seed)
    count = torch.bincount(labels)
    short = ((count > 0) & (count < shots)).nonzero()[:, 0].tolist()
    if short:
        c = short[0]
        name = f" ({classes[c]!r})" if c < len(classes) else ""
        raise ValueError(
            f"{shots} shots of {what} were asked, but class {c}{name} has only {int(count[c])}"
            f"{f' and {len(short) - 1} more have too few' if len(short) > 1 else ''}; "
            f"ask for at most {int(count[count > 0].min())}, or for None to use all."
        )
    generator = torch.Generator().manual_seed(mixed(seed, offset=zlib.crc32(what.encode(errors="replace")), bits=47))
    shuffled = torch.rand(len(labels), generator=generator, dtype=torch.float32).argsort()
    order = shuffled[torch.argsort(labels[shuffled], stable=True)]
    sorted_labels = labels[order]
    start = torch.cumsum(count, 0) - count
    rank = torch.arange(len(order)) - start[sorted_labels]
    return order[rank < shots]


def _rows(samples: Samples) -> dict[str, tuple[Tensor, Tensor]]:
    """Modality -> its present and labelled rows."""
    if (sort := task_of(samples.labels)) != "classes":
        raise ValueError(f"UML's shared head needs class labels; these are {SORTS[sort]}.")
    rows = {}
    for m, x in samples.inputs.items():
        keep = samples.present[m] & (samples.labels >= 0)
        if bool(keep.any()):
            rows[m] = (x[keep], samples.labels[keep])
    return rows


def _scaled(part: Split, train: Split) -> dict[str, tuple[Tensor, Tensor]]:
    """Vectors centred by the training mean, and of mean length 1 there."""
    scaled = {}
    for m, (x, y) in part.items():
        mean = train[m][0].mean(0)
        length = (train[m][0] - mean).flatten(1).norm(dim=1).mean()
        scaled[m] = (x if x.ndim > 2 else (x - mean) / length.clamp(min=1e-12), y)
    return scaled


def _checked(split: str, given: Mapping[str, Any]) -> dict[str, tuple[Tensor, Tensor]]:
    pairs = {}
    for m, pair in check.mapping(split, given, "pairs (x, labels)").items():
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise TypeError(f"{split}[{m!r}] must be a pair (x, labels), got {type(pair).__name__}.")
        x = check.as_tensor(f"{split}[{m!r}]", pair[0])
        # factors of embeddings are not made in half precision
        x = check.finite(f"{split}[{m!r}]", x if x.is_floating_point() and x.dtype.itemsize >= 4 else x.float())
        y = check.as_tensor(f"labels of {split}[{m!r}]", pair[1])
        if x.ndim < 2 or len(x) == 0:
            raise ValueError(f"{split}[{m!r}] must be (n, ...) with n > 0, got shape {tuple(x.shape)}.")
        if y.shape != (len(x),) or y.is_floating_point() or int(y.min()) < 0:
            raise ValueError(
                f"labels of {split}[{m!r}] must be {len(x)} class numbers from 0 on, got {tuple(y.shape)}."
            )
        pairs[str(m)] = (x.cpu(), y.long().cpu())
    return pairs
