"""Cheap experiments that tests sweep, in a module of their own so that worker processes find them.

Each writes a line to the file ``log`` when it begins a member, so that tests can count.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np

from xmodal_lab.sweeps.experiment import Experiment, Report, Variable

DEFAULTS = {"x": 0.0, "kind": "plain", "seed": 0, "log": "", "nap": 0.0, "flag": ""}
VARIABLES = {
    "value": Variable(label="a value", units="m"),
    "surface": Variable({"a": np.linspace(-1, 1, 24), "b": np.linspace(-1, 1, 24)}),
    "curve": Variable({"step": range(4)}, dtype="float32"),
}


def began(settings: dict) -> None:
    if settings["log"]:
        with Path(settings["log"]).open("a") as file:  # one short append is atomic
            file.write(f"{settings['x']},{settings['kind']},{settings['seed']}\n")
    if settings["nap"]:
        time.sleep(settings["nap"])


def member(settings: dict, report: Report) -> dict:
    began(settings)
    report(0.5, "half way")
    g = np.random.default_rng([settings["seed"], round(1000 * settings["x"]) + 10_000, len(settings["kind"])])
    return {
        "value": settings["x"] + settings["seed"] / 3,
        "surface": g.standard_normal((24, 24)),
        "curve": g.standard_normal(4).astype(np.float32),
    }


def stack(settings: list[dict], report: Report) -> list[dict]:
    """Each member's noise also depends on its company, as round-off does in a real stack."""
    found = [member(s, report) for s in settings]
    company = sum(s["x"] + s["seed"] for s in settings)
    return [{**f, "value": f["value"] + 1e-9 * company} for f in found]


def diverging(settings: dict, report: Report) -> dict:
    began(settings)
    if settings["x"] == 1.0 and settings["seed"] == 1:
        raise FloatingPointError("it went to infinity")
    return {"value": settings["x"]}


def failing(settings: dict, report: Report) -> dict:
    if settings["seed"] == 2:
        raise KeyError("no such thing")
    return member(settings, report)


def interrupted(settings: dict, report: Report) -> dict:
    if settings["seed"] == 2 and not Path(settings["flag"]).exists():
        Path(settings["flag"]).touch()
        raise KeyboardInterrupt
    return member(settings, report)


def deadly(settings: dict, report: Report) -> dict:
    """Kills its own worker the first time that seed 2 is computed; always where there is no flag file to set."""
    if settings["seed"] == 2 and not (settings["flag"] and Path(settings["flag"]).exists()):
        if settings["flag"]:
            Path(settings["flag"]).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return member(settings, report)


class Odd(Exception):
    """An exception that cannot be made again from its message, as pickle tries to."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} and {second}")


def odd(settings: dict, report: Report) -> dict:
    raise Odd("this", "that")


def ending(settings: dict, report: Report) -> dict:
    os._exit(3)


def picky(settings: dict, report: Report) -> dict:
    began(settings)
    if settings["seed"] in (1, 3):
        raise KeyError(f"no {settings['seed']}")
    return {"value": settings["x"] + settings["seed"]}


CHEAP = Experiment("cheap", DEFAULTS, member, VARIABLES, labels={"x": "a place"})
STACKED = Experiment("stacked", DEFAULTS, member, VARIABLES, stack=stack)
DIVERGING = Experiment("diverging", DEFAULTS, diverging, ["value"])
FAILING = Experiment("failing", DEFAULTS, failing, VARIABLES)
INTERRUPTED = Experiment("interrupted", DEFAULTS, interrupted, VARIABLES)
ODD = Experiment("odd", DEFAULTS, odd, ["value"])
ENDING = Experiment("ending", DEFAULTS, ending, ["value"])
PICKY = Experiment("picky", DEFAULTS, picky, ["value"])
DEADLY = Experiment("deadly", DEFAULTS, deadly, VARIABLES)


def lines(log: Path) -> list[str]:
    """What was begun, in order."""
    return log.read_text().splitlines() if log.exists() else []


def placed(settings: dict, report: Report) -> dict:
    """On which device of its kind a member computes that asks for "auto", and for the kind."""
    began(settings)
    return {"auto": _number("auto"), "named": _number(settings["kind"])}


def _number(asked: str) -> float:
    import torch

    from xmodal_lab.utils.torch_state import pick_device

    index = torch.zeros(1, device=pick_device(asked)).device.index
    return -1.0 if index is None else float(index)


PLACED = Experiment("placed", DEFAULTS, placed, ["auto", "named"])
