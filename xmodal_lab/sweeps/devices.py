"""Several GPUs for one sweep: a process for each, which takes the next task when it is done with one."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import torch

from ..utils import checks as check
from ..utils.torch_state import settle
from .workers import Processes, ignore_interrupt


class Devices(Processes):
    """Processes that each stand on a device of their own, as the ``executor`` of a sweep.

    The i-th process to start takes the i-th device, and round again. In it "auto", and the kind of its device without
    a number ("cuda"), mean that device; so the sweep's own ``device`` setting stays as it is. Members are the same
    numbers wherever they are computed, up to what two devices of one kind differ by. A stack is cut into one part for
    each device.

    Args:
        devices: names such as "cuda:0"; all CUDA devices of this machine when not given. One that stands there twice
            gets two processes.

    Attributes:
        devices: their names, in order.

    Raises:
        ValueError: no device, or one that this machine does not have.
        TypeError: no list of names.

    Example:
        >>> import xmodal_lab as xl
        >>> with xl.sweeps.Devices(["cpu"]) as executor:  # Devices() where there are GPUs
        ...     cube = xl.sweep("uml", steps=2, seed=[0, 1], executor=executor, progress=False)
        >>> cube.sizes["seed"]
        2
    """

    def __init__(self, devices: Sequence[str] | None = None) -> None:
        if devices is None:
            names = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
            if not names:
                raise ValueError("there is no CUDA device here; name the devices, as in Devices(['cpu']).")
        else:
            names = [str(check.device(name)) for name in check.listed("devices", devices)]
            if not names:
                raise ValueError("devices is empty; give one name at least, or leave it out for all CUDA devices.")
        self.devices = tuple(names)
        context = get_context("spawn")  # CUDA does not survive a fork
        started = context.Value("i", 0)
        ProcessPoolExecutor.__init__(self, len(names), context, _begin, (started, self.devices))
        self.count, self.known = len(names), False

    def anew(self) -> Devices:
        """The same, for one whose processes have died."""
        fresh = Devices(self.devices)
        fresh.known = self.known
        return fresh


def _begin(started: Any, names: Sequence[str]) -> None:
    """In a process that starts: take the next device."""
    ignore_interrupt()
    with started.get_lock():
        mine = names[started.value % len(names)]
        started.value += 1
    settle(mine)
