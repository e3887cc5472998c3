"""The doors of :class:`~xmodal_lab.Dataset` for data of one's own; :mod:`.datasets.own.doors` reads what comes in."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeVar, cast

from ..utils.options import names, option, shown

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class ReadingOptions:
    """How one's own data are read; what :meth:`Doors.from_arrays` takes, and through it all other doors."""

    split: Any = option(
        None,
        'N words "train", "val" or "test"; a mapping from those to rows (numbers, slice or mask); None draws.',
    )
    present: Mapping[str, Any] | None = option(None, "modality -> (N,) bool, beside what empty rows say.")
    kinds: Mapping[str, str] | None = option(
        None,
        'modality -> "image", "audio", "text", "tokens", "features", "series" where that is not to be guessed.',
    )
    classes: Sequence[Any] | None = option(None, "names in order; of ordinal words their rank.")
    task: str = option("auto", '"classes", "labels" (several a row), "values" (real), or "auto" to tell by the labels.')
    separator: str | None = option(None, 'between several classes in one word, such as "|".')
    group: Sequence[Any] | None = option(None, "N values (speaker, scene); rows of one are never split.")
    several: str = option(
        "every",
        '"every" makes a row for each view (the shorter modality repeats its own), all in one split and numbered in '
        '``latents["row"]``; "first" takes the first.',
    )
    val_share: float | None = option(
        None,
        "of the rows where a split is drawn: 0.1 (ours). With ``split`` given, validation rows are drawn only if this "
        "is.",
    )
    test_share: float = option(0.2, "of the rows where a split is drawn: 0.2 (ours).")
    name: str = option("mine", "of the dataset.")
    root: str | os.PathLike[str] | None = option(None, "folder of the files that are named.")
    size: int | tuple[int, int] = option(64, "side of pictures from files, or (height, width).")
    audio: str = option("mel", '"mel" (1, mel, mel) in dB, or "wave", at 16 kHz, for sounds that are decoded here.')
    mel: int = option(32, "bands and frames.")
    seconds: float = option(1.0, "of each sound.")
    rate: int | None = option(
        None, "samples per second of waves in arrays; kept in the provenance for encoders of sound."
    )
    channels: str = option("auto", 'of pictures in arrays: "first", "last", "auto".')
    seed: int = option(0, "draws the split.")


def _with_options(function: Function) -> Function:
    shown(function, ReadingOptions, {}, names(ReadingOptions))
    return function


def _door(name: str) -> Any:
    # By name, at use: what reads files stands above what holds samples.
    return getattr(importlib.import_module(".datasets.own.doors", __package__), name)


class Doors:
    """Ways into a dataset."""

    @classmethod
    @_with_options
    def from_arrays(cls, inputs: Any, labels: Any, **options: Any) -> Self:
        """A dataset of arrays and lists, one entry a row; what is odd is told in one message.

        What is recognised stands in ``provenance["read"]``: (N, H, W, C) pictures and bytes (channels moved to the
        front, [0, 1]), int16 waves (over their full scale), token ids (they stay whole), one-hot labels. What can be
        read in two ways is asked.

        Args:
            inputs: modality -> one of: an array (N, ...), memory-mapped or not; N numbers; N texts; N names of picture,
                sound or array files; N arrays, of different length for tokens, waves and series (padded with 0); N
                Pillow pictures; N dicts with "array" and "sampling_rate", or "bytes" or "path". A list of texts,
                pictures or files in a row holds several views of it. None, NaN, an empty text or a row of NaN: the row
                lacks it.
            labels: N words, class numbers (of any numbering; -1 is unknown), lists of classes (several a row), 0 and 1
                of shape (N, C), or real numbers, (N,) or (N, D).
            {options}
            options: those above; :class:`~xmodal_lab.data.doors.ReadingOptions` writes each once.

        Returns:
            A :class:`Dataset` of float32 inputs (N, ...) and int64 tokens. A mapped array of float32 or float64 stays
            in its file, and batches are read as they are used, where the rows of each split stand together.

        Raises:
            ValueError: all that is missing, odd, or can be read in two ways.
            TypeError: an option that there is none of.

        Example:
            >>> import numpy as np
            >>> import xmodal_lab as xl
            >>> photos = np.zeros((10, 24, 24, 3), dtype=np.uint8)
            >>> words = ["a cat", "a dog", None, "a cat", "a dog"] * 2
            >>> ds = xl.Dataset.from_arrays({"photo": photos, "caption": words}, ["cat", "dog"] * 5, val_share=0)
            >>> ds
            Dataset('mine': train 8, test 2; 2 classes; photo 3x24x24, caption 256)
            >>> ds.provenance["read"]["photo"]
            'image (3, 24, 24), channels stood last'
        """
        return cast("Self", _door("from_arrays")(inputs, labels, **options))

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        *,
        label: str | Sequence[str],
        inputs: Mapping[str, str | Sequence[str]] | None = None,
        split: Any = None,
        group: str | None = None,
        **options: Any,
    ) -> Self:
        """A dataset of a table, one line a row.

        Args:
            frame: of pandas, polars or pyarrow, or a dict of columns.
            label: column of the labels; several columns of 0 and 1 for several classes a row, of numbers for several
                real values.
            inputs: modality -> a column (texts, files, numbers, arrays), or several columns of numbers. None: all
                columns of numbers are "features", any other column is a modality of its own name.
            split: column that says train, val or test; or as in :meth:`from_arrays`.
            group: column whose equal values are never split.
            options: of :meth:`from_arrays`.

        Returns:
            A :class:`Dataset`.

        Raises:
            ValueError: columns that are not there, and as :meth:`from_arrays`.

        Example:
            >>> import pandas as pd
            >>> import xmodal_lab as xl
            >>> table = pd.DataFrame({"age": range(10), "note": list("abcdefghij"), "ill": ["yes", "no"] * 5})
            >>> xl.Dataset.from_frame(table, label="ill", val_share=0)
            Dataset('mine': train 8, test 2; 2 classes; features 1, note 256)
        """
        made = _door("from_frame")(frame, label=label, inputs=inputs, split=split, group=group, **options)
        return cast("Self", made)

    @classmethod
    def from_torch(
        cls,
        dataset: Any,
        *,
        names: Sequence[str] | None = None,
        label: str | int = "auto",
        split: Any = None,
        **options: Any,
    ) -> Self:
        """A dataset of a ``torch.utils.data.Dataset`` (or a loader of one), read whole.

        Args:
            dataset: gives (input, label), (input, input, label), ({modality: input}, label) or dicts; or a mapping from
                "train", "val", "test" to such. Its ``classes`` (as torchvision has them) name the classes.
            names: of the modalities, in the order of the inputs; keys to keep of dicts.
            label: key of the label in dicts; "auto" for label, labels, target or y.
            split: as in :meth:`from_arrays`.
            options: of :meth:`from_arrays`.

        Returns:
            A :class:`Dataset`.

        Raises:
            ValueError, TypeError: items of another form, and as :meth:`from_arrays`.

        Example:
            >>> import torch
            >>> import xmodal_lab as xl
            >>> pairs = torch.utils.data.TensorDataset(torch.rand(10, 3), torch.rand(10, 4), torch.arange(10) % 2)
            >>> xl.Dataset.from_torch(pairs, names=["touch", "smell"], val_share=0)
            Dataset('mine': train 8, test 2; 2 classes; touch 3, smell 4)
        """
        return cast("Self", _door("from_torch")(dataset, names=names, label=label, split=split, **options))

    @classmethod
    def from_hf(
        cls,
        rows: Any,
        *,
        label: str = "label",
        inputs: Sequence[str] | Mapping[str, str] | None = None,
        split: Any = None,
        group: str | None = None,
        **options: Any,
    ) -> Self:
        """A dataset of rows as Hugging Face's ``datasets`` gives them.

        Args:
            rows: a list of dicts, a dict of lists, a ``datasets.Dataset``, or a mapping from split to one of those.
            label: column of the labels; names of its ``ClassLabel`` become the classes.
            inputs: columns that are modalities, or modality -> column; None for all others.
            split: column that says train, val or test; or as in :meth:`from_arrays`.
            group: column whose equal values are never split.
            options: of :meth:`from_arrays`.

        Returns:
            A :class:`Dataset`.

        Raises:
            ValueError, TypeError: as :meth:`from_arrays`.

        Example:
            >>> import xmodal_lab as xl
            >>> rows = [{"input_ids": [5, 9, 2][: 1 + i % 3], "label": i % 2} for i in range(10)]
            >>> ds = xl.Dataset.from_hf(rows, val_share=0)
            >>> ds.kinds["input_ids"], ds.vocabulary
            ('tokens', {'input_ids': 10})
        """
        made = _door("from_hf")(rows, label=label, inputs=inputs, split=split, group=group, **options)
        return cast("Self", made)
