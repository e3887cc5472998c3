"""One direction [M_j → M_i] on one dataset: what M_i learns from, and the latents of the frozen M_j.

M_j is a net that learned the labels from its own modality, on rows that M_i never uses. Where M_j is language it is
the frozen sentence encoder of :mod:`.prompts`, as BERT in the paper.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from ...data.labels import task_of
from ...data.samples import Dataset
from ...experiments.world import DATA, DatasetWorld
from ...models import stacked as nets
from ...utils.kept import kept
from ...utils.torch_state import pick_device
from .method import prompts
from .method.teachers import Split, Teacher, fitted, sentences, taught, teaching_rows
from .method.views import Standardizer, spoilt

LETTERS = {"V": "image", "A": "audio", "L": "text"}
# Settings that the world depends on, besides those of the data.
OWN = (
    "direction", "width", "hidden", "resolution", "architecture", "teacher_share", "teacher_steps", "noise_variance",
    "length", "severity",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Direction:
    """What the members of one direction share.

    Attributes:
        x: "train", "val" and the names of ``views.TESTS`` -> (N, ...) inputs of M_i.
        y: "train", "val", "test" -> (N,) labels.
        teacher: latents of M_j.
        both: "train", "test" -> (N, D) inputs of both modalities side by side; empty where no row has both.
        y_both: labels of ``both["train"]``.
        classes: how many.
        settings: of this direction.
        memory: results that members share.
    """

    x: dict[str, Tensor]
    y: dict[str, Tensor]
    teacher: Teacher
    both: dict[str, Tensor]
    y_both: Tensor
    classes: int
    settings: dict[str, Any]
    memory: dict[Any, Any] = field(default_factory=dict)

    @property
    def device(self) -> torch.device:
        """Where its tensors are."""
        return self.y["train"].device

    @property
    def width(self) -> int:
        """Dimension d of all latents."""
        return int(self.settings["width_of_z"])

    def ideal(self, seed: int) -> Tensor | None:
        """Latents (N, d) of test rows of a net that sees both modalities, in place of z*; None where no row has both.

        The paper never says what P* is in its experiments. Another seed is another stand-in.
        """
        if not self.both:
            return None
        if ("ideal", seed) not in self.memory:
            net = fitted([seed], self.both["train"], self.y_both, self.classes, self.settings)
            with torch.no_grad():
                self.memory["ideal", seed] = nets.features(net, self.both["test"])[0]
        latents: Tensor = self.memory["ideal", seed]
        return latents


def modality(dataset: Dataset, letter: str) -> str | None:
    """The dataset's modality of this letter (V, A, L): the first of its kind or name; None where there is none.

    By name, since features of a frozen encoder are vectors, but still of pictures or of texts.
    """
    return next((m for m, kind in dataset.kinds.items() if LETTERS[letter] in (kind, m)), None)


def direction_of(source: DatasetWorld, s: Mapping[str, Any]) -> Direction:
    """What the members with these settings share, on its device; the last few are kept. M_j is trained on the CPU.

    Raises:
        ValueError: the dataset lacks a modality of the direction, or has no classes.
    """
    data = () if source.given is not None else tuple((k, s[k]) for k in DATA)
    return _placed(source, data, tuple((k, s[k]) for k in OWN), str(pick_device(s["device"])))


@kept(64)  # of ten draws in five directions
def _placed(
    source: DatasetWorld, data: tuple[tuple[str, Any], ...], own: tuple[tuple[str, Any], ...], device: str
) -> Direction:
    made = _made(source, data, own)
    if device == "cpu":
        return made

    def there(parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: part.to(device) for name, part in parts.items()}

    return replace(
        made, x=there(made.x), y=there(made.y), teacher=made.teacher.to(device), both=there(made.both),
        y_both=made.y_both.to(device), memory={},
    )  # fmt: skip


@kept(64)
def _made(source: DatasetWorld, data: tuple[tuple[str, Any], ...], own: tuple[tuple[str, Any], ...]) -> Direction:
    s: dict[str, Any] = dict(own)
    dataset = source.load(dict(data)).to("cpu")
    j, i = (modality(dataset, letter) for letter in s["direction"].split("→"))
    spoken = s["direction"].startswith("L")
    if i is None or (j is None and not spoken):
        raise ValueError(
            f"direction {s['direction']} needs modalities of kind "
            f"{' and '.join(LETTERS[c] for c in s['direction'].split('→'))}; dataset {dataset.name!r} has "
            f"{', '.join(f'{m} ({kind})' for m, kind in dataset.kinds.items())}."
        )
    train = dataset.train
    if task_of(train.labels) != "classes" or int(train.labels.min()) < 0:
        raise ValueError(
            f"synergy trains classifiers: dataset {dataset.name!r} needs one class for every training row."
        )
    s["width_of_z"] = prompts.WIDTH if spoken else s["width"]
    classes = len(dataset.classes) or 1 + int(max(part.labels.max() for part in dataset.splits.values()))
    teaching = torch.zeros(len(train), dtype=torch.bool)
    if not spoken:
        teaching = teaching_rows(train, str(j), i, s["teacher_share"])
    rows, val = (train.present[i].cpu() & ~teaching).nonzero()[:, 0], dataset.val
    if val is None:  # a fifth of the training rows (ours)
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(29))
        cut = max(1, len(rows) // 5)
        rows, val = rows[order[cut:]], train.subset(rows[order[:cut]])
    split = Split(dataset, rows, val.complete(i), dataset.test.complete(i))
    teacher = sentences(split, j, classes, s) if spoken else taught(split, str(j), teaching, classes, s)
    standardize = Standardizer(train.inputs[i][rows], s["resolution"])
    x = {"train": standardize(train.inputs[i][rows]), "val": standardize(split.val.inputs[i])}
    x |= {name: standardize(v) for name, v in spoilt(split.test, i, dataset.kinds[i], s["severity"]).items()}
    y = {"train": train.labels[rows], "val": split.val.labels, "test": split.test.labels}
    both, y_both = _side_by_side(dataset, i, j, s)
    return Direction(x, y, teacher, both, y_both, classes, s)


def _side_by_side(dataset: Dataset, i: str, j: str | None, s: Mapping[str, Any]) -> tuple[dict[str, Tensor], Tensor]:
    if j is None or not bool((dataset.train.present[i] & dataset.train.present[j]).any()):
        return {}, torch.empty(0, dtype=torch.long)
    train, test = dataset.train.complete((i, j)), dataset.test.complete((i, j))
    views = {m: Standardizer(train.inputs[m], s["resolution"]) for m in (i, j)}
    both = {
        name: torch.cat([view(part.inputs[m]).flatten(1) for m, view in views.items()], 1)
        for name, part in (("train", train), ("test", test))
    }
    return both, train.labels
