"""``imagenet_esc``: classes that are both seen (ImageNet) and heard (ESC-50), as features (Lin et al. 2023)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ....utils import checks as check
from ....utils.options import takes
from ...samples import Dataset, Samples
from ..reading.layout import Problems, home, read_json
from ..reading.options import OnDisk
from .feature_files import read_features

MODALITIES = ("image", "audio")
# ImageNet class → ESC-50 class (Lin et al. 2023); the first 19 alone are the smaller set.
CLASS_MAP = {
    7: "rooster", 8: "hen", 19: "chirping_birds", 31: "frog", 175: "dog", 285: "cat", 308: "insects", 312: "crickets",
    341: "pig", 349: "sheep", 404: "airplane", 466: "train", 491: "chainsaw", 508: "keyboard_typing",
    530: "clock_alarm", 673: "mouse_click", 882: "vacuum_cleaner", 892: "clock_tick", 897: "washing_machine",
    473: "can_opening", 497: "church_bells", 556: "crackling_fire", 861: "toilet_flush", 896: "water_drops",
    898: "drinking_sipping", 899: "pouring_water", 977: "sea_waves",
}  # fmt: skip
LAYOUT = (
    "Expected esc-50/features.pt ({fold: {features (400, d), labels, labelnames, paths}}), and for images a file of "
    "features and ImageNet labels (image_train=, image_test=)."
)


@takes(OnDisk, "n_train", "n_test", modalities=MODALITIES)
def load_imagenet_esc(
    how: OnDisk,
    *,
    classes: int = 19,
    shots: int | None = 1,
    fold: int = 0,
    image_train: str = "imagenet/train.pt",
    image_test: str = "imagenet/test.pt",
) -> Dataset:
    """Features of sounds (1024,), and of images where there are any; of kind "vector".

    Sounds of one fold train, those of the other folds test. Images and sounds were never
    recorded together: a row has either, and ``present`` says which. ``shots`` of each class and
    modality train, the next ``shots`` validate.

    Args:
        {options}
        root: folder with "esc-50" in it; ``XMODAL_DATA`` for None.
        modalities: which of "image", "audio".
        classes: 19 or 27.
        shots: training rows of each class and modality; None for all, then without validation.
        fold: of the training sounds, 0 to 4.
        image_train, image_test: files with "features" and "labels" (ImageNet's 0 to 999).
        seed: shuffles rows.

    Raises:
        LayoutError: files that are missing, damaged, refused, or not of this layout.
    """
    chosen = how.chosen(MODALITIES)
    if classes not in (19, 27):
        raise ValueError(f"classes must be 19 or 27, got {classes!r}.")
    if shots is not None:
        check.integer("shots", shots, at_least=1)
    if not 0 <= check.integer("fold", fold) <= 4:
        raise ValueError(f"fold must be 0 to 4, got {fold}.")
    folder = home(how.root, ["imagenet_esc", "imagenet-esc"], ["esc-50"])
    problems = Problems("imagenet_esc", folder, LAYOUT)
    mapping = dict(sorted(list(CLASS_MAP.items())[:classes]))
    names = tuple(mapping.values())
    pools: dict[str, dict[str, tuple[Tensor, Tensor]]] = {"train": {}, "test": {}}
    if "audio" in chosen:
        path = folder / "esc-50" / "features.pt"
        content = problems.attempt(path, lambda: read_features(path))
        folds = _folds(content, path, problems) if content is not None else {}
        if folds:
            heard = {
                k: _known(part, {name: i for i, name in enumerate(names)}, "labelnames") for k, part in folds.items()
            }
            others = [part for k, part in heard.items() if k != fold]
            pools["train"]["audio"] = heard[fold]
            pools["test"]["audio"] = (torch.cat([f for f, _ in others]), torch.cat([c for _, c in others]))
    if "image" in chosen:
        for split, file in (("train", image_train), ("test", image_test)):
            where = folder / file
            content = problems.attempt(where, lambda p=where: read_features(p))  # type: ignore[misc]
            if content is not None and _whole(content, where, problems):
                pools[split]["image"] = _known(content, {c: i for i, c in enumerate(mapping)}, "labels")
    problems.finish()
    parts = {"train": _cut(pools["train"], 0, shots, names), "test": _cut(pools["test"], 0, None, names)}
    if shots is not None:
        parts["val"] = _cut(pools["train"], shots, shots, names)
    splits = {s: _rows(found, chosen, [how.seed, i]) for i, (s, found) in enumerate(parts.items())}
    return Dataset(
        name="imagenet_esc", train=splits["train"], test=splits["test"], val=splits.get("val"), classes=names,
        kinds=dict.fromkeys(chosen, "vector"),
        provenance={"source": "ImageNet-ESC, Lin et al. 2023", "licence": "ImageNet's, and ESC-50's", "seed": how.seed},
    )  # fmt: skip


def read_indices(path: str | os.PathLike[str]) -> dict[str, list[int]]:
    """Rows of a few-shot split, ``indices/{dataset}/shot_{k}-seed_{s}.json``: {train, val} → rows.

    Raises:
        FileNotFoundError, ValueError: no such file, or not such a json.
    """
    path = check.path("path", path)
    content = read_json(path)
    good = isinstance(content, dict) and {"train", "val"} <= set(content)
    rows = (
        {k: content[k].get("indices") if isinstance(content[k], dict) else content[k] for k in ("train", "val")}
        if good
        else {}
    )
    if not rows or not all(isinstance(v, list) and all(isinstance(i, int) for i in v) for v in rows.values()):
        raise ValueError(f"{path}: {{train, val}} with lists of rows expected")
    return rows


def _folds(content: Mapping[Any, Any], path: Path, problems: Problems) -> dict[int, Mapping[str, Any]]:
    found = {}
    for k in range(5):
        part = content.get(k, content.get(str(k)))
        if not isinstance(part, Mapping):
            problems.malformed(path, f"no fold {k}")
        elif _whole(part, path, problems, f"fold {k}: "):
            names = part.get("labelnames")
            if not isinstance(names, list | tuple) or len(names) != len(part["labels"]) or not _texts(names):
                problems.malformed(path, f"fold {k}: a name in 'labelnames' for each row expected")
            else:
                found[k] = part
    if len(widths := sorted({part["features"].shape[1] for part in found.values()})) > 1:
        problems.malformed(path, f"the folds' features must be of one width, got {', '.join(map(str, widths))}")
        return {}
    return found if len(found) == 5 else {}


def _texts(names: Sequence[Any]) -> bool:
    return all(isinstance(name, str) for name in names)


def _whole(part: Mapping[Any, Any], path: Path, problems: Problems, where: str = "") -> bool:
    features, labels = part.get("features"), part.get("labels")
    if (
        not isinstance(features, Tensor)
        or features.ndim != 2
        or features.is_complex()
        or (not isinstance(labels, Tensor) or labels.ndim != 1)
    ):
        problems.malformed(path, f"{where}tensors 'features' (N, d) and 'labels' (N,) expected")
    elif len(features) != len(labels):
        problems.malformed(path, f"{where}{len(features)} features, but {len(labels)} labels")
    elif not bool(torch.isfinite(features).all()):
        problems.malformed(path, f"{where}features hold NaN or infinite values")
    else:
        return True
    return False


def _known(part: Mapping[str, Any], numbers: Mapping[Any, int], key: str) -> tuple[Tensor, Tensor]:
    """Features and class numbers of the rows whose class is in the set."""
    names = part[key].tolist() if isinstance(part[key], Tensor) else list(part[key])
    rows = [i for i, name in enumerate(names) if name in numbers]
    return part["features"][rows].float(), torch.tensor([numbers[names[i]] for i in rows], dtype=torch.long)


def _cut(
    pool: Mapping[str, tuple[Tensor, Tensor]], start: int, shots: int | None, names: Sequence[str]
) -> dict[str, tuple[Tensor, Tensor]]:
    """From each class ``shots`` rows after ``start``; all for None."""
    out = {}
    for m, (features, labels) in pool.items():
        rows = []
        for c, name in enumerate(names):
            here = (labels == c).nonzero().flatten()
            few = here[start:] if shots is None else here[start : start + shots]
            if shots is not None and len(few) < shots:
                raise ValueError(
                    f"class {name!r} has {len(here)} rows of {m}, too few for {shots} shots and as many to validate."
                )
            rows.append(few)
        together = torch.cat(rows)
        out[m] = (features[together], labels[together])
    return out


def _rows(found: Mapping[str, tuple[Tensor, Tensor]], chosen: Sequence[str], seed: Sequence[int]) -> Samples:
    """One row per image or sound, shuffled."""
    import numpy as np

    labels = torch.cat([found[m][1] for m in chosen])
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(labels)))
    inputs, present, at = {}, {}, 0
    for m in chosen:
        features = found[m][0]
        inputs[m] = torch.zeros(len(labels), features.shape[1])
        inputs[m][at : at + len(features)] = features
        present[m] = torch.zeros(len(labels), dtype=torch.bool)
        present[m][at : at + len(features)] = True
        at += len(features)
    return Samples({m: x[order] for m, x in inputs.items()}, labels[order], {m: p[order] for m, p in present.items()})
