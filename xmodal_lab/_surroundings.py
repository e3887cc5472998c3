"""What a caller may have set for all of PyTorch, and what a function needs instead; for ``with``, or as a decorator."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock

import torch

_DRAWING = RLock()


def _forget_lock() -> None:
    """In a forked process, where the thread that held it does not exist."""
    global _DRAWING
    _DRAWING = RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_lock)


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
    """No autocast: an instrument's own sums keep the dtype that they are given."""
    with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
        yield


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
