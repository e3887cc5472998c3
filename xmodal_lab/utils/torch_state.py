"""What a caller may have set for all of PyTorch, and what a function needs instead; for ``with``, or as a decorator."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from threading import RLock
from typing import Any

import torch

from . import checks as check
from .switched import Switched, Undo

_DRAWING = RLock()
# Devices whose autocast an instrument switches off.
AUTOCAST = ("cpu", "cuda", "mps", "xpu")
# Numbers of which a norm is taken at a time (ours).
NORM_AT_ONCE = 1 << 20


@contextmanager
def gradients() -> Iterator[None]:
    """Gradients, also below ``torch.no_grad()`` and ``torch.inference_mode()``."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


@contextmanager
def float32() -> Iterator[None]:
    """float32 for what is made without a dtype, so that ``torch.set_default_dtype`` changes no seeded draw."""
    usual = torch.get_default_dtype()
    if usual == torch.float32:  # then nothing is touched: the setting is one for all threads
        yield
        return
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(usual)


@contextmanager
def full_precision() -> Iterator[None]:
    """An instrument's own sums keep the dtype that they are given: no autocast, and no TensorFloat-32.

    Torch lets cuDNN's convolutions of float32 round to ten bits by default, and whoever set
    ``torch.set_float32_matmul_precision`` products too: differences of losses and eigenvalues do not survive that.
    Autocast is a setting of one thread, these are settings for all of them: they stay off until the last
    thread has left, and then are what they were before the first one came.
    """
    with ExitStack() as stack:
        for device in AUTOCAST:
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        _EXACT.visit(stack)
        yield


def _exact_products(undo: Undo) -> None:
    """Switch TensorFloat-32 and bfloat16 off inside products of float32; ``undo`` gets what puts them back."""

    def put(read: Callable[[], Any], write: Callable[[Any], None], exact: Any, fine: tuple[Any, ...]) -> None:
        try:
            before = read()
            if before in fine:
                return
        except (RuntimeError, AttributeError):  # set through the newer names, which the older ones refuse to read
            return
        undo.append(lambda: write(before))
        try:
            write(exact)
        except (RuntimeError, AttributeError):
            undo.pop()

    def of(owner: Any, name: str) -> tuple[Callable[[], Any], Callable[[Any], None]]:
        return lambda: getattr(owner, name), lambda value: setattr(owner, name, value)

    b: Any = torch.backends
    put(*of(b.cudnn, "allow_tf32"), False, (False,))
    put(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "highest", ("highest",))
    # From torch 2.9 on, each of these can be set by itself; the general ones first, which the others follow.
    newer = [b] if hasattr(b, "fp32_precision") else []
    if newer:
        newer += [b.cudnn, b.mkldnn, b.cuda.matmul, b.cudnn.conv, b.cudnn.rnn]
        newer += [b.mkldnn.matmul, b.mkldnn.conv, b.mkldnn.rnn]
    for owner in newer:
        put(*of(owner, "fp32_precision"), "ieee", ("none", "ieee"))


_EXACT = Switched(_exact_products)


def _forget_locks() -> None:
    """In a forked process, where the threads that held them do not exist."""
    global _DRAWING
    _DRAWING = RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_locks)


@contextmanager
def training() -> Iterator[None]:
    """What a paper's own training needs: gradients, and float32 all through."""
    with gradients(), float32(), full_precision():
        yield


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """PyTorch's own generator of the CPU, begun at ``seed``; afterwards as it was.

    There is one for all threads, so those of the library wait for each other. Those of other devices, which
    ``torch.manual_seed`` begins anew too, are left alone.
    """
    generator = torch.default_generator
    with _DRAWING, float32():
        before = generator.get_state()
        generator.manual_seed(seed)
        try:
            yield
        finally:
            generator.set_state(before)


def pick_device(device: str | torch.device = "auto", dtypes: Iterable[torch.dtype] = ()) -> torch.device:
    """The device that ``device`` names; "auto" is cuda, else mps, else cpu, or what :func:`settle` has said.

    Args:
        device: "auto", or a name such as "cuda:1".
        dtypes: of what will stand there: Apple's GPUs have no float64, so "auto" is then the CPU.

    Returns:
        The device; it exists here.

    Raises:
        ValueError: a device that this machine does not have, or that lacks one of ``dtypes``.
    """
    wide = any(dtype in (torch.float64, torch.complex128) for dtype in dtypes)
    mine = _SETTLED[0] if _SETTLED else None
    if mine is not None and device == "auto" and (has_float64(mine) or not wide):
        return mine
    if not (isinstance(device, str) and device == "auto"):
        place = check.device(device)
        if mine is not None and place.index is None and place.type == mine.type:
            place = mine
        if wide and not has_float64(place):
            raise ValueError(f"device {str(place)!r} has no float64; use device='cpu' (or 'auto'), or .float().")
        return place
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() and not wide else "cpu")


_SETTLED: list[torch.device] = []


def settle(device: str) -> None:
    """Let "auto", and the kind of ``device`` without a number, mean this device from now on in this process.

    Raises:
        ValueError: a device that this machine does not have.
    """
    place = check.device(device)
    _SETTLED[:] = [place]
    if place.type == "cuda":
        torch.cuda.set_device(place)


def has_float64(device: torch.device) -> bool:
    """Whether sums can be taken in float64 there."""
    return device.type != "mps"


def norm64(tensor: torch.Tensor) -> torch.Tensor:
    """‖tensor‖, summed in float64, or in float32 where its device has no other."""
    dtype = torch.float64 if has_float64(tensor.device) else None
    if tensor.numel() <= NORM_AT_ONCE or tensor.device.type != "cpu" or not tensor.is_contiguous():
        found: torch.Tensor = torch.linalg.vector_norm(tensor, dtype=dtype)
        return found
    parts = tensor.view(-1).split(NORM_AT_ONCE)  # a CPU copies into float64 first: twice the tensor
    return torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(part, dtype=dtype) for part in parts]))


def wide(tensor: torch.Tensor) -> torch.Tensor:
    """``tensor`` in float64: where it stands, or on the CPU where its device has no float64. Gradients go along."""
    return tensor.double() if has_float64(tensor.device) else tensor.cpu().double()
