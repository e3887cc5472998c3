"""MultiBench's pickles: ``mosi``, ``mosei``, ``ur_funny``, ``mustard`` and ``mimic`` (Liang et al. 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ....utils import checks as check
from ....utils.options import takes
from ...samples import Dataset, Samples
from ..reading import unpickle
from ..reading.layout import Problems, home
from ..reading.options import OnDisk
from ..reading.rows import balanced

# name → file, widths of vision, audio and text, and whether labels are a sentiment from -3 to 3.
AFFECT = {
    "mosi": ("mosi_data.pkl", (20, 5, 300), True),
    "mosei": ("mosei_senti_data.pkl", (35, 74, 300), True),
    "ur_funny": ("humor.pkl", (371, 81, 300), False),
    "mustard": ("sarcasm.pkl", (371, 81, 300), False),
}
MODALITIES = ("vision", "audio", "text")
_SPLITS = {"train": "train", "val": "valid", "test": "test"}

Array = npt.NDArray[Any]


@takes(OnDisk, modalities=MODALITIES)
def load_multibench(how: OnDisk, *, which: str = "mosi", task: str = "classes") -> Dataset:
    """Sequences of features of faces, voices and words, (50, d) each, of kind "vector".

    As MultiBench prepares them: infinite audio is 0, rows without words are dropped, leading
    zeros (by the words) are moved to the end.

    Args:
        {options}
        which: "mosi", "mosei", "ur_funny" or "mustard".
        root: folder with the pickle, or with a folder "multibench"; ``XMODAL_DATA`` for None.
        modalities: which of "vision", "audio", "text".
        task: "classes" (negative or positive; joke or none) or "value" (sentiment, mosi and mosei).
        n_train, n_test: rows, balanced where there are classes; None for all.
        seed: draws rows.

    Raises:
        LayoutError: a file that is missing, damaged, refused (not only arrays) or not of this layout.
    """
    chosen = how.chosen(MODALITIES)
    file, widths, graded = AFFECT[check.one_of("MultiBench set", which, AFFECT)]
    check.one_of("task", task, ("classes", "value") if graded else ("classes",))
    folder = home(how.root, ["multibench", which], [file])
    problems = Problems(
        which, folder, f"Expected {file}: {{train, valid, test}} → {{vision, audio, text (N, T, d), labels}}."
    )
    path = folder / file
    content = problems.attempt(path, lambda: unpickle.load(path))
    problems.finish()
    parts = {s: _affect(content, key, dict(zip(MODALITIES, widths, strict=True)), path, problems)
             for s, key in _SPLITS.items()}  # fmt: skip
    problems.finish()
    splits = {}
    for s, (views, labels) in parts.items():
        target: Array = labels.astype(np.float32) if task == "value" else (labels > 0).astype(np.int64)
        wanted = {"train": how.n_train, "test": how.n_test}.get(s)
        few = np.zeros(len(target)) if task == "value" else target
        rows = balanced(few, wanted, f"n_{s}", [how.seed, 0]) if wanted is not None else np.arange(len(target))
        inputs = {m: torch.from_numpy(np.ascontiguousarray(views[m][rows], dtype=np.float32)) for m in chosen}
        splits[s] = Samples(inputs, torch.from_numpy(target[rows]))
    classes = () if task == "value" else ("negative", "positive") if graded else ("no", "yes")
    return Dataset(
        name=which, **splits, classes=classes, kinds=dict.fromkeys(chosen, "vector"),
        provenance={
            "source": f"MultiBench, {file} (Liang et al. 2021)", "licence": "of the original", "seed": how.seed,
        },
    )  # fmt: skip


def _affect(
    content: Any, key: str, widths: dict[str, int], path: Path, problems: Problems
) -> tuple[dict[str, Array], Array]:
    """Views and labels (N,) of one split."""
    part = content.get(key) if isinstance(content, dict) else None
    if not isinstance(part, dict):
        problems.malformed(path, f"no split {key!r}")
        return {}, np.zeros(0)
    found: dict[str, Array] = {}
    for name in (*widths, "labels"):
        array = part.get(name)
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu" or not array.size or not array.ndim:
            problems.malformed(path, f"{key}: {name!r} must be an array of numbers")
            return {}, np.zeros(0)
        found[name] = array
        if name in widths and (array.ndim != 3 or array.shape[2] != widths[name]):
            problems.malformed(path, f"{key}: {name} (N, T, {widths[name]}) expected, got {array.shape}")
    if len({len(array) for array in found.values()}) > 1:
        problems.malformed(path, f"{key}: lengths differ, { ({k: len(v) for k, v in found.items()}) }")
    labels = found.pop("labels")
    labels = labels.reshape(len(labels), -1)[:, 0].astype(np.float64)
    if not np.isfinite(labels).all():  # as a class, NaN would count as "not above 0"
        problems.malformed(path, f"{key}: labels hold NaN or infinite values")
    if (
        any(array.ndim != 3 for array in found.values())
        or len({len(array) for array in found.values()} | {len(labels)}) > 1
    ):
        return {}, np.zeros(0)
    if len(steps := {array.shape[1] for array in found.values()}) > 1:  # they are shifted together
        problems.malformed(path, f"{key}: sequences of one length expected, got {', '.join(map(str, sorted(steps)))}")
        return {}, np.zeros(0)
    views = {m: np.array(array, dtype=np.float32) for m, array in found.items()}
    views["audio"][np.isneginf(views["audio"])] = 0.0
    for m, array in views.items():
        if not np.isfinite(array).all():
            problems.malformed(path, f"{key}: {m} holds NaN or infinite values")
    spoken = views["text"].any(axis=(1, 2))
    if not spoken.any():
        problems.malformed(path, f"{key}: no row has words")
        return {}, np.zeros(0)
    starts = views["text"][spoken].any(axis=2).argmax(axis=1)
    return {m: _shifted(array[spoken], starts) for m, array in views.items()}, labels[spoken]


def _shifted(sequences: Array, starts: Array) -> Array:
    """Each sequence from its start, zeros at the end."""
    out = np.zeros_like(sequences)
    for row, start in enumerate(starts.tolist()):
        out[row, : sequences.shape[1] - start] = sequences[row, start:]
    return out


@takes(OnDisk, "n_test", modalities=("static", "series"))
def load_mimic(how: OnDisk, *, task: int = -1) -> Dataset:
    """Intensive care: facts at admission (5,) and hourly measurements (24, 12), standardised.

    Args:
        {options}
        root: folder with im.pk, or with a folder "mimic" or "multibench"; ``XMODAL_DATA`` for None.
        modalities: which of "static", "series".
        task: -1 for mortality in six steps, 0 to 19 for a group of ICD-9 codes.
        n_train: rows, balanced; None for all.
        seed: draws the split (80/10/10) and rows.

    Raises:
        LayoutError: a file that is missing, damaged, refused (not only arrays) or not of this layout.
    """
    chosen = how.chosen(("static", "series"))
    if not -1 <= check.integer("task", task) <= 19:
        raise ValueError(f"task must be -1 (mortality) or 0 to 19 (ICD-9 groups), got {task}.")
    folder = home(how.root, ["mimic", "multibench"], ["im.pk"])
    problems = Problems(
        "mimic", folder, "Expected im.pk with ep_tdata (N, T, d), adm_features_all (N, 5), adm_labels_all, y_icd9."
    )
    path = folder / "im.pk"
    content = problems.attempt(path, lambda: unpickle.load(path))
    problems.finish()
    ranks = {"ep_tdata": 3, "adm_features_all": 2, "adm_labels_all": 2, "y_icd9": 2}
    arrays: dict[str, Array] = {}
    for key, rank in ranks.items():
        array = content.get(key) if isinstance(content, dict) else None
        if not isinstance(array, np.ndarray) or array.ndim != rank or array.dtype.kind not in "fiub":
            problems.malformed(path, f"{key!r} must be an array of {rank} dimensions")
        elif len(array) < 2 or 0 in array.shape:
            problems.malformed(path, f"{key!r} must hold at least 2 rows with a number in them, got {array.shape}")
        else:
            arrays[key] = array
    if len({len(array) for array in arrays.values()}) > 1:
        problems.malformed(path, f"lengths differ, { ({k: len(v) for k, v in arrays.items()}) }")
    for key, least in (("adm_labels_all", 6), ("y_icd9", 20)):
        if key in arrays and arrays[key].shape[1] < least:
            problems.malformed(path, f"{key!r} must have {least} columns, got {arrays[key].shape[1]}")
        if key in arrays and not np.isfinite(arrays[key]).all():  # as a class, NaN would count as "no"
            problems.malformed(path, f"{key!r} holds NaN or infinite values")
    problems.finish()
    if task < 0:
        died = arrays["adm_labels_all"][:, 1:6] > 0
        labels = np.where(died.any(1), died.argmax(1) + 1, 0)
    else:
        labels = (arrays["y_icd9"][:, task] > 0).astype(np.int64)
    views = {"static": arrays["adm_features_all"], "series": arrays["ep_tdata"]}
    order = np.random.default_rng([how.seed, 1]).permutation(len(labels))
    cut, rest = int(0.8 * len(order)), int(0.9 * len(order))
    parts = {"train": order[:cut], "val": order[cut:rest], "test": order[rest:]}
    if how.n_train is not None:
        parts["train"] = parts["train"][balanced(labels[parts["train"]], how.n_train, "n_train", [how.seed, 0])]
    splits = {s: _standard(views, labels, rows, parts["train"], chosen)
              for s, rows in parts.items() if len(rows)}  # fmt: skip
    classes = ("alive", "1 day", "2 days", "3 days", "1 week", "1 year") if task < 0 else ("no", "yes")
    return Dataset(
        name="mimic", **splits, classes=classes, kinds=dict.fromkeys(chosen, "vector"),
        provenance={"source": "MIMIC-III as in MultiBench", "licence": "PhysioNet, credentialed", "seed": how.seed},
    )  # fmt: skip


def _standard(views: dict[str, Array], labels: Array, rows: Array, seen: Array, chosen: Sequence[str]) -> Samples:
    """Rows standardised feature by feature over ``seen``; what is not finite counts as 0."""
    inputs = {}
    for m in chosen:
        array = np.where(np.isfinite(views[m]), views[m], 0.0).astype(np.float64)
        axes = tuple(range(array.ndim - 1))
        mean, sd = array[seen].mean(axes), np.maximum(array[seen].std(axes), 1e-6)
        inputs[m] = torch.from_numpy(((array[rows] - mean) / sd).astype(np.float32))
    return Samples(inputs, torch.from_numpy(labels[rows].astype(np.int64)))
