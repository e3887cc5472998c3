"""What kind of thing a modality is, as far as its name, dtype and shape tell it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..utils import checks as check

KINDS = ("image", "audio", "text", "vector", "tokens", "series")
_ALIASES = {"features": "vector"}
# Whole numbers under these names are ids of words, whatever else whole numbers may be.
TOKEN_NAMES = ("tokens", "text", "input_ids", "token_ids", "ids")
_WHOLE = (torch.int32, torch.int64)  # the dtypes of token ids; smaller ones hold pictures, sounds and flags
_CHANNELS = (1, 3, 4)  # of a picture: grey, RGB, RGBA


def kind_of(what: str, value: object) -> str:
    """Return ``value`` if it names a kind of modality; "features" is another word for "vector"."""
    plain = _ALIASES.get(value, value) if isinstance(value, str) else value
    return check.one_of(what, plain, KINDS)


def guessed(name: str, view: Tensor) -> str:
    """The kind of a modality of which only its name and its tensor (N, ...) are known."""
    if not view.is_floating_point():
        return "tokens"
    if name in KINDS:
        return name
    if name in _ALIASES:
        return _ALIASES[name]
    return {2: "vector", 4: "image"}.get(view.ndim, "series")


def whole_tokens(name: str, view: Tensor, kind: str | None) -> Tensor | None:
    """Token ids as int64, or None for what is no token ids: those must not become floats, which have gradients.

    Raises:
        ValueError: whole numbers that may be ids or quantities, and nothing says which; ids that are not whole or
            below 0.
    """
    if kind == "tokens" or (kind is None and name in TOKEN_NAMES and view.dtype in _WHOLE):
        whole = view.long()
        if view.is_complex() or not torch.equal(whole.to(view.dtype), view) or (whole.numel() and int(whole.min()) < 0):
            raise ValueError(
                f"inputs[{name!r}] are tokens, so they must be whole numbers from 0 on (0 is padding), got "
                f"{view.dtype} that are not; give the tokenizer's ids, or another kind."
            )
        return whole
    if kind is None and view.dtype in _WHOLE and view.ndim == 2 and view.numel():
        low, high = int(view.min()), int(view.max())
        if low >= 0 and high > 1:
            raise ValueError(
                f"inputs[{name!r}] hold whole numbers ({view.dtype}, {low} to {high}): token ids or quantities? Say "
                f"kinds={{{name!r}: 'tokens'}} to keep them whole, or kinds={{{name!r}: 'vector'}} (or .float()) to "
                "read them as numbers."
            )
    return None


def channels_last(shape: Sequence[int]) -> bool:
    """Whether a picture of this shape is (H, W, C): its channels stand last, and cannot stand first."""
    return len(shape) == 3 and shape[2] in _CHANNELS and shape[0] > 4 and shape[1] > 4


def check_channels(what: str, shape: Sequence[int]) -> None:
    """Refuse a picture whose channels stand last.

    Raises:
        ValueError: a shape (H, W, C).
    """
    if channels_last(shape):
        height, width, channels = shape
        raise ValueError(
            f"{what} must be (C, H, W), got {tuple(shape)}, which looks like (H, W, C) with {channels} channel(s); use "
            f".permute(0, 3, 1, 2) for (N, {channels}, {height}, {width}), or xl.Dataset.from_arrays, which does it."
        )


def check_name(name: object) -> str:
    """Return the name of a modality, if a net can have a part of that name.

    Raises:
        TypeError, ValueError: no string, an empty one, one with a dot, or a word that PyTorch's modules use themselves.
    """
    text = check.instance("the name of a modality", name, str)
    if not text.strip():
        raise ValueError(f"the name of a modality must not be empty, got {text!r}.")
    if "." in text:
        raise ValueError(
            f"the name of a modality must have no dot, which parts the names of parameters, got {text!r}; "
            f"use {text.replace('.', '_')!r}."
        )
    if hasattr(_MODULES, text):
        raise ValueError(f"{text!r} cannot name a modality: PyTorch's modules use the word; use {text + '_view'!r}.")
    return text


_MODULES = nn.ModuleDict()
