"""Checks of what a user hands in: each says what was expected, what came, and what to do.

Every public function calls these before it does any work. They raise ``ValueError`` or
``TypeError``, never ``AssertionError``, so they hold under ``python -O`` too.
"""

from __future__ import annotations

import difflib
import math
import operator
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from . import checks as check
from .shapes import CHECKED

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


def one_of(what: str, value: object, known: Iterable[str]) -> str:
    """Return ``value`` if it is one of ``known``; otherwise name the known ones."""
    names = [str(name) for name in known]
    if isinstance(value, str) and value in names:
        return value
    plain = {name.casefold(): name for name in reversed(names)}
    close = difflib.get_close_matches(str(value).casefold(), plain, n=1)
    hint = f" Did you mean {plain[close[0]]!r}?" if close else ""
    listed = ", ".join(repr(name) for name in names) or "none"
    raise ValueError(f"unknown {what} {value!r}; known: {listed}.{hint}")


def modalities_of(asked: str | Collection[str] | None, known: Iterable[str]) -> tuple[str, ...]:
    """Return the asked modalities as a tuple; all known ones for ``None``."""
    names = tuple(known)
    if asked is None:
        return names
    wanted = (asked,) if isinstance(asked, str) else tuple(listed("modalities", asked))
    if not wanted:
        raise ValueError(f"no modality was named; give at least one of {', '.join(map(repr, names))}.")
    for name in wanted:
        one_of("modality", name, names)
    if len(set(wanted)) != len(wanted):
        raise ValueError(f"modalities must differ from each other, got {wanted}.")
    return wanted


def share(what: str, value: float) -> float:
    """Return ``value`` if it lies in [0, 1]."""
    number = real(what, value)
    if not 0.0 <= number <= 1.0:
        raise ValueError(f"{what} must lie between 0 and 1, got {value!r}.")
    return number


def real(what: str, value: object) -> float:
    """Return ``value`` as a finite float."""
    if isinstance(value, (str, bytes)):  # float() would read them
        raise TypeError(f"{what} must be a number, got {type(value).__name__} {value!r}.")
    try:
        number = float(value)  # type: ignore[arg-type]
    except OverflowError:
        raise ValueError(f"{what} must be finite, got a number too large for a float.") from None
    except (TypeError, ValueError, RuntimeError):  # the last: a tensor of several numbers, or without any
        raise TypeError(f"{what} must be a number, got {type(value).__name__} {value!r}.") from None
    if not math.isfinite(number):
        raise ValueError(f"{what} must be finite, got {value!r}.")
    return number


def positive(what: str, value: object) -> float:
    """Return ``value`` if it is a finite number above 0."""
    number = real(what, value)
    if number <= 0:
        raise ValueError(f"{what} must be above 0, got {value!r}.")
    return number


def non_negative(what: str, value: object) -> float:
    """Return ``value`` if it is a finite number of at least 0."""
    number = real(what, value)
    if number < 0:
        raise ValueError(f"{what} must be at least 0, got {value!r}.")
    return number


def boolean(what: str, value: object) -> bool:
    """Return ``value`` if it is True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"{what} must be True or False, got {type(value).__name__} {value!r}.")
    return value


def integer(what: str, value: object, at_least: int | None = None) -> int:
    """Return ``value`` as an int, if it is a whole number of at least ``at_least`` that 64 bits hold."""
    try:
        if isinstance(value, bool) or (isinstance(value, Tensor) and value.dtype == torch.bool):
            raise TypeError
        number = operator.index(value)  # type: ignore[arg-type]
    except (TypeError, RuntimeError):  # the last: a tensor without numbers
        raise TypeError(f"{what} must be a whole number, got {type(value).__name__} {value!r}.") from None
    if at_least is not None and number < at_least:
        raise ValueError(f"{what} must be at least {at_least}, got {number}.")
    if not -(2**63) <= number < 2**63:
        raise ValueError(f"{what} must be a number of 64 bits, between -2^63 and 2^63 - 1, got {number}.")
    return number


def listed(what: str, value: object) -> list[Any]:
    """Return ``value`` as a list, if it is a sequence of things and no text."""
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise TypeError(f"{what} must be a list, got {type(value).__name__} {value!r}.")
    try:
        return list(value)
    except (TypeError, RuntimeError):  # a 0-d array or tensor, or a tensor without numbers
        raise TypeError(f"{what} must be a list, got {type(value).__name__} {value!r}.") from None


def is_listed(value: object) -> bool:
    """Whether ``value`` is a sequence of things: no text, no single number in a tensor."""
    return isinstance(value, Iterable) and not isinstance(value, (str, bytes)) and getattr(value, "ndim", 1) != 0


def path(what: str, value: object) -> Path:
    """Return ``value`` as a path, if it is one that a file system can hold; ``~`` and ``~name`` become home folders.

    Every path of a user comes in through here, so that reading and writing mean the same place by "~/runs".
    """
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"{what} must be a path, got {type(value).__name__} {value!r}.")
    if isinstance(value, str) and "://" in value:  # would be a folder s3: below this one
        raise ValueError(f"{what} must be a path on this machine, got the address {value[:60]!r}.")
    try:
        found = Path(value)
        name = os.fsencode(found)
    except (TypeError, ValueError):
        name, found = b"\0", Path()
    if b"\0" in name or len(name) > 4000 or any(len(os.fsencode(part)) > 255 for part in found.parts):
        raise ValueError(f"{what} is no name of a file or folder: {str(value)[:60]!r}.")
    if not os.fsdecode(value).startswith("~"):  # "./~x", which Path makes "~x" of, means a folder of that name
        return found
    try:
        return found.expanduser()
    except RuntimeError:  # a user that this machine does not know, or no home at all
        raise ValueError(
            f"{what} {str(value)[:60]!r} begins with a home folder that there is not; write it out."
        ) from None


def device(value: object) -> torch.device:
    """Return the device that ``value`` names, if this machine has it."""
    if not isinstance(value, (str, int, torch.device)) or isinstance(value, bool):
        raise TypeError(f"device must be a name such as 'cpu' or 'cuda', got {type(value).__name__} {value!r}.")
    try:
        torch.zeros(1, device=value)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {value!r} cannot be used here ({error}); use 'auto' or 'cpu'.") from None
    return torch.device(value)


def mapping(what: str, value: object, of: str = "things") -> Mapping[Any, Any]:
    """Return ``value`` if it is a mapping from names to ``of``."""
    if isinstance(value, Mapping):
        return value
    raise TypeError(f"{what} must be a dict from names to {of}, got {type(value).__name__}.")


def function(what: str, value: F, of: str) -> F:
    """Return ``value`` if it can be called; ``of`` says with what and what it gives."""
    if not callable(value):
        raise TypeError(f"{what} must be a function {of}, got {type(value).__name__}.")
    return value


def instance(what: str, value: object, kind: type[T], remedy: str = "") -> T:
    """Return ``value`` if it is a ``kind``; otherwise say what came, and the remedy."""
    if isinstance(value, kind):
        return value
    came = f"the type {value.__name__}" if isinstance(value, type) else type(value).__name__
    article = "an" if kind.__name__[0] in "AEIOU" else "a"
    raise TypeError(f"{what} must be {article} {kind.__name__}, got {came}{f'; {remedy}' if remedy else ''}.")


def one_device(**tensors: Tensor) -> None:
    """Refuse tensors that lie on different devices: which of them to move is the caller's choice."""
    (first, one), *others = tensors.items()
    for name, other in others:
        if other.device != one.device:
            raise ValueError(
                f"{first} and {name} are on different devices: {first} on {one.device}, {name} on {other.device}; "
                "move one with .to()."
            )


def finite(what: str, tensor: Tensor) -> Tensor:
    """Return ``tensor`` if it holds no NaN and no infinity."""
    _has_numbers(what, tensor)
    if not (tensor.is_floating_point() or tensor.is_complex()):
        return tensor
    if tensor.is_meta or tensor.layout != torch.strided or tensor.element_size() == 1:
        raise ValueError(
            f"{what} must be a dense tensor of at least 16 bits with numbers in it, got {tensor.dtype}, "
            f"{tensor.layout}, on {tensor.device}; use .to_dense(), .float() or another device."
        )
    if not bool(torch.isfinite(tensor.sum())):  # one pass; a finite tensor whose sum overflows is looked at below
        bad = ~torch.isfinite(tensor)
        if bool(bad.any()):
            where = tuple(int(i) for i in bad.nonzero()[0])
            raise ValueError(
                f"{what} holds {int(bad.sum())} NaN or infinite value(s), the first at {where}; "
                "remove or fill them first (torch.nan_to_num, or drop those rows)."
            )
    return tensor


def as_tensor(what: str, value: object, dtype: torch.dtype | None = None) -> Tensor:
    """Return ``value`` (tensor, array or nested list) as a dense tensor in which one can compute.

    Shares memory with a writable array; a read-only array is copied.
    """
    if isinstance(value, Tensor):
        dense = _dense(what, value)
        if dtype == torch.float64 and dense.device.type == "mps":  # which has none: such numbers go to the CPU
            dense = dense.cpu()
        return dense if dtype is None else dense.to(dtype)
    if hasattr(value, "mask") and hasattr(value, "filled"):  # NumPy would hand over what lies below the mask
        hidden = int(value.mask.sum())
        if hidden:
            raise ValueError(f"{what} has {hidden} masked entries; fill them first (.filled(…)), or drop those rows.")
    try:
        if hasattr(value, "__array__"):
            import numpy as np

            array = np.asarray(value)
            if array.dtype.kind in "fiu" and (not array.dtype.isnative or array.dtype.itemsize > 8):
                array = array.astype(f"{array.dtype.kind}{min(array.dtype.itemsize, 8)}")  # torch knows no others
            if not array.flags.writeable or any(step < 0 for step in array.strides):
                array = array.copy()
            found = torch.as_tensor(array, dtype=dtype)
        else:
            found = torch.as_tensor(value, dtype=dtype)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise TypeError(
            f"{what} must be a tensor or an array of numbers, got {type(value).__name__}: {error}"
        ) from None
    return _dense(what, found)


def as_array(value: Any) -> Any:
    """``value`` as a NumPy array: of a tensor, wherever it stands and whether or not it has a gradient, its numbers.

    Labelled arrays give their values. bfloat16, which NumPy lacks, becomes float32.
    """
    import numpy as np

    if isinstance(value, Tensor):
        value = value.detach().cpu()
        value = value.float() if value.dtype == torch.bfloat16 else value
    return np.asarray(value)


def _has_numbers(what: str, tensor: Tensor) -> None:
    """Refuse tensors of which PyTorch cannot even tell the size."""
    if torch.nn.parameter.is_lazy(tensor):
        raise ValueError(f"{what} has no shape yet, as in a lazy module; call the module on one batch first.")
    if tensor.is_nested:
        raise ValueError(
            f"{what} is nested, with rows of different length; pad it first (torch.nested.to_padded_tensor)."
        )


def _dense(what: str, tensor: Tensor) -> Tensor:
    _has_numbers(what, tensor)
    if tensor.is_meta:
        raise ValueError(f"{what} is on device 'meta' and holds no numbers; move the data to 'cpu' or a GPU first.")
    if tensor.is_quantized:
        tensor = tensor.dequantize()
    if tensor.layout != torch.strided:
        tensor = tensor.to_dense()
    if tensor.dtype in (torch.uint16, torch.uint32, torch.uint64):  # torch can store these and do little else
        whole = tensor.to(torch.int64)
        if bool((whole < 0).any()):
            raise ValueError(f"{what} holds numbers of 2^63 or more.")
        tensor = whole
    if tensor.is_floating_point() and tensor.element_size() == 1:  # there is no arithmetic in 8 bits
        tensor = tensor.float()
    return tensor.resolve_neg()


def ordinary(tensor: Tensor) -> Tensor:
    """``tensor``; a copy of one that was made in inference mode, which gradients could not be taken through."""
    if not tensor.is_inference():
        return tensor
    with torch.inference_mode(False):
        return tensor.clone()


def missing_extra(package: str, extra: str) -> ImportError:
    """The error to raise when an optional ``package`` is not installed."""
    return ImportError(f"this needs {package}; install it with: pip install 'xmodal-lab[{extra}]'")


def shapechecked(function: F) -> F:
    """Check jaxtyping annotations at run time, under pytest only (``XMODAL_CHECK_SHAPES=1``)."""
    if not CHECKED:
        return function
    from beartype import beartype
    from jaxtyping import jaxtyped

    checked: F = jaxtyped(typechecker=beartype)(function)
    return checked


def class_numbers(what: str, value: Any, n: int, below: int | None = None) -> Tensor:
    """Class numbers (n,) as int64 on the CPU, at least 0 and less than ``below``."""
    labels = check.as_tensor(what, value).detach().cpu()
    if labels.is_floating_point() or labels.is_complex():
        raise TypeError(f"{what} must be whole class numbers, got {labels.dtype}; use .long().")
    if labels.shape != (n,):
        raise ValueError(f"{what} must have shape ({n},), one per row, got {tuple(labels.shape)}.")
    if n == 0:
        raise ValueError(f"{what} is empty; at least one sample is needed.")
    labels = labels.long()
    low, high = int(labels.min()), int(labels.max())
    if low < 0:
        raise ValueError(f"{what} holds {low}; drop the rows whose label is unknown (-1) first.")
    if high > 1000 * n + 1000:  # counting would take memory for every number in between
        raise ValueError(f"{what} go up to {high} in {n} rows; number the classes from 0.")
    if below is not None and high >= below:
        raise ValueError(f"{what} holds {high}, but there are only {below} (0 to {below - 1}).")
    return labels
