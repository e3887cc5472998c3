"""``features``: any npz, safetensors or ``torch.save`` file of feature vectors and labels."""

from __future__ import annotations

import importlib
import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ....utils import checks as check
from ....utils.options import takes
from ...samples import Dataset, Samples
from ..reading import unpickle
from ..reading.layout import Problems, data_root
from ..reading.options import OnDisk
from ..reading.rows import balanced

SUFFIXES = (".npz", ".npy", ".safetensors", ".pth", ".pt", ".pkl", ".pickle")
ARRAYS = (".npy", ".npz", ".pt", ".pth", ".pkl", ".pickle")  # that may hold one array
LAYOUT = "Expected 'labels' (N,) and one or more arrays (N, ...), under the modalities' names or 'features'."
_MOST_CLASSES = 1_000_000  # (ours) a label above it is an id or damage
_ASIDE = ("labels", "labelnames", "paths", "prompts", "eot_indices", "lab2cname", "classnames")


def read_features(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The contents of an npz, npy, safetensors, torch or pickle file; nothing in it is run.

    A npy file is {"features": its array}, mapped from disk; beside ``x.npy`` the labels stand in ``x_labels.npy`` or
    ``labels.npy``. A pickle may hold NumPy arrays and plain containers, and nothing else.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another suffix, a damaged file, or one that needs code to be read.
    """
    path = check.path("path", path)
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{path}: one of {', '.join(SUFFIXES)} expected")
    if not path.is_file():
        raise FileNotFoundError(path)
    if path.suffix.lower() in (".pt", ".pth") and tuple(map(int, torch.__version__.split(".")[:2])) < (2, 6):
        raise ValueError(
            f"{path}: such a file can make PyTorch before 2.6 run code (CVE-2025-32434), this is {torch.__version__}; "
            "update PyTorch, or give the features as npz or safetensors."
        )
    try:
        if path.suffix.lower() == ".npz":
            with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                return {k: archive[k] for k in archive.files}
        if path.suffix.lower() == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(path))
        if path.suffix.lower() == ".npy":
            return {"features": np.load(path, mmap_mode="r", allow_pickle=False), **_labels_beside(path)}
        if path.suffix.lower() in (".pkl", ".pickle"):
            content = unpickle.load(path)
        else:
            with torch.serialization.safe_globals(_ARRAY_PARTS):  # arrays of NumPy are no code either
                content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        first = str(error).strip().splitlines()[0]
        raise ValueError(f"{path}: holds more than tensors and plain containers, or is damaged: {first}") from None
    except Exception as error:  # zip, header and torch errors of many kinds
        if str(error).startswith(str(path)):  # says it itself
            raise ValueError(str(error)) from None
        raise ValueError(f"{path}: damaged ({type(error).__name__}: {error})") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path}: a dict expected, got {type(content).__name__}")
    return content


def read_array(path: str | os.PathLike[str]) -> npt.NDArray[Any]:
    """The one array of a npy, npz, torch or pickle file; nothing in it is run.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another suffix, a damaged file, one that holds several arrays or none.
    """
    path = Path(path)
    if path.suffix.lower() == ".npy" and path.is_file():
        try:
            found: npt.NDArray[Any] = np.load(path, allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise ValueError(f"{path}: damaged ({error})") from None
        return found
    try:
        content = read_features(path)
    except ValueError as error:
        if "a dict expected" not in str(error):
            raise
        content = {"array": unpickle.load(path) if path.suffix.lower() in (".pkl", ".pickle") else _torch(path)}
    arrays = [v for v in content.values() if isinstance(v, Tensor) or hasattr(v, "__array__")]
    if len(arrays) != 1:
        raise ValueError(f"{path}: one array expected, got {len(arrays)} under {', '.join(map(repr, content))}")
    return np.asarray(check.as_tensor(path.name, arrays[0]).detach().cpu())


def _torch(path: Path) -> Any:
    with torch.serialization.safe_globals(_ARRAY_PARTS):
        return torch.load(path, map_location="cpu", weights_only=True)


def _labels_beside(path: Path) -> dict[str, Any]:
    for name in (f"{path.stem}_labels.npy", "labels.npy"):
        if (path.parent / name).is_file() and path.name != name:
            return {"labels": np.load(path.parent / name, allow_pickle=False)}
    raise ValueError(f"{path}: no labels beside it; name them {path.stem}_labels.npy or labels.npy")


def _array_parts() -> list[Any]:
    """What rebuilds arrays of NumPy in a torch file, under the names of both of its versions."""
    core = importlib.import_module("numpy._core" if hasattr(np, "_core") else "numpy.core").multiarray
    kinds = [type(np.dtype(code)) for code in ("?bBhHiIlLqQefd")]
    rebuild = core._reconstruct
    old = [(rebuild, f"numpy.{home}.multiarray._reconstruct") for home in ("core", "_core")]
    return [*old, np.ndarray, np.dtype, *dict.fromkeys(kinds)]


_ARRAY_PARTS = _array_parts()


@takes(OnDisk, "n_test")
def load_features(
    how: OnDisk,
    *,
    train: str | os.PathLike[str] = "train.npz",
    test: str | os.PathLike[str] | None = None,
    val: str | os.PathLike[str] | None = None,
    modality: str = "image",
    test_share: float = 0.2,
) -> Dataset:
    """Feature vectors from files, of kind "vector".

    Takes the files of uml's released code too (``features``, ``labels``, ``prompts``,
    ``eot_indices``, ``lab2cname``): prompts go to ``strings``, names to ``classes``.

    Args:
        {options}
        root: folder of the files; ``XMODAL_DATA`` for None. Absolute paths need none.
        train: file of the training rows (npz, npy, safetensors, pth, pt, pkl); see :func:`read_features`.
        test: of the test rows; None splits off ``test_share`` of the training rows.
        val: of validation rows, if any.
        modalities: which of those in the files; None for all.
        modality: the name for an array called "features".
        n_train: rows, balanced; None for all.
        test_share: see ``test``.
        seed: draws rows.

    Raises:
        LayoutError: files that are missing, damaged, refused, or not of this layout.
    """
    check.share("test_share", test_share)
    named = {"train": train, "test": test, "val": val}
    first = check.path("train", train)
    folder = first.parent if first.is_absolute() and how.root is None else data_root(how.root)
    problems = Problems("features", folder, LAYOUT)
    splits: dict[str, Samples] = {}
    classes: tuple[str, ...] = ()
    for s, file in named.items():
        if file is None:
            continue
        path = folder / check.path(s, file)
        if (others := _other_files(path)) and not path.exists():
            problems.missing(path, f"is not there, but {others}; name the file of each split: {s}=…")
            continue
        content = problems.attempt(path, lambda p=path: read_features(p))  # type: ignore[misc]
        if content is not None:
            samples = problems.attempt(path, lambda c=content, p=path: _samples(c, modality, p))  # type: ignore[misc]
            if samples is not None:
                splits[s] = samples
                names = problems.attempt(path, lambda c=content: _classes(c))  # type: ignore[misc]
                classes = classes or names or ()
    problems.finish()
    if how.modalities is not None:
        splits = {s: part.select(check.modalities_of(how.modalities, part.modalities)) for s, part in splits.items()}
    if test is None:
        if len(splits["train"]) < 2 or test_share == 1.0:
            raise ValueError(f"no row is left to train on: {len(splits['train'])} rows, test_share {test_share:g}.")
        order = np.random.default_rng([how.seed, 5]).permutation(len(splits["train"]))
        cut = max(1, round(test_share * len(order)))
        splits["test"] = splits["train"].subset(torch.from_numpy(order[:cut]))
        splits["train"] = splits["train"].subset(torch.from_numpy(order[cut:]))
    if how.n_train is not None:
        rows = balanced(splits["train"].labels.numpy(), how.n_train, "n_train", [how.seed, 0])
        splits["train"] = splits["train"].subset(torch.from_numpy(rows))
    top = max(int(part.labels.max()) for part in splits.values())
    classes = (*classes, *(str(c) for c in range(len(classes), top + 1)))
    return Dataset(
        name="features", train=splits["train"], test=splits["test"], val=splits.get("val"), classes=classes,
        kinds=dict.fromkeys(splits["train"].modalities, "vector"), provenance={"source": str(folder), "seed": how.seed},
    )  # fmt: skip


def _other_files(path: Path) -> str:
    """Files of features beside a path, the first of them by name."""
    found = sorted(p.name for p in path.parent.glob("*") if p.suffix.lower() in SUFFIXES and p != path)
    return ", ".join(found[:6]) + (f" and {len(found) - 6} more" if len(found) > 6 else "")


def _samples(content: Mapping[str, Any], modality: str, path: Path) -> Samples:
    if "labels" not in content:
        raise ValueError(f"{path}: no 'labels'; it has {', '.join(map(repr, content))}")
    labels = check.as_tensor("labels", content["labels"]).flatten()
    n = len(labels)
    if labels.is_complex() or not torch.equal(labels.double(), labels.double().round()):  # NaN is not equal to itself
        raise ValueError(f"{path}: labels must be class numbers, whole and from 0 on (-1 for unknown)")
    if n and (top := float(labels.double().max())) >= _MOST_CLASSES:
        raise ValueError(f"{path}: labels must be class numbers below {_MOST_CLASSES}, got {top:g}")
    inputs: dict[str, Tensor] = {}
    for key, value in content.items():
        if key in _ASIDE or not (isinstance(value, Tensor) or hasattr(value, "__array__")):
            continue
        array = check.as_tensor(key, value)
        if not isinstance(key, str) or array.is_complex() or array.is_quantized:
            raise ValueError(f"{path}: {key!r} must be real numbers under the name of a modality, got {array.dtype}")
        if array.ndim < 2 or len(array) != n or 0 in array.shape[1:]:
            raise ValueError(f"{path}: {key!r} must have shape ({n}, ...) like labels, got {tuple(array.shape)}")
        inputs[modality if key == "features" else key] = array.float()
    if not inputs:
        raise ValueError(f"{path}: no array of features beside the labels")
    prompts = content.get("prompts")
    fits = isinstance(prompts, list | tuple) and len(prompts) == n and all(isinstance(p, str) for p in prompts)
    return Samples(inputs, labels.long(), strings={next(iter(inputs)): tuple(prompts)} if fits and prompts else {})


def _classes(content: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the classes, where there are any: the one of class c at place c.

    Raises:
        ValueError: names under keys that are no class numbers.
    """
    names = content.get("lab2cname", content.get("classnames"))
    if isinstance(names, np.ndarray):
        names = names.tolist()
    if not isinstance(names, Mapping):
        return tuple(map(str, names)) if isinstance(names, list | tuple) else ()
    try:  # json turns numbers into text, and "10" would be sorted before "2"
        known = {int(key): str(name) for key, name in names.items()}
    except (TypeError, ValueError):
        raise ValueError(f"names of classes must stand under their numbers, got {list(names)[:3]}") from None
    if known and not 0 <= min(known) <= max(known) < _MOST_CLASSES:
        raise ValueError(f"class numbers must lie from 0 to {_MOST_CLASSES - 1}, got {min(known)} to {max(known)}")
    return tuple(known.get(c, str(c)) for c in range(max(known, default=-1) + 1))
