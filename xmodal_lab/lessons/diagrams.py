"""The picture at the head of each lesson: a paper's own method, or what the lesson is about."""

from __future__ import annotations

import importlib

from ..plots import Arrow, Box, Diagram
from ..sweeps.experiment import PAPERS
from ..utils import checks as check

START = Diagram(
    "from a dataset to a slider",
    (
        Box("data", "Dataset", (0, 0)),
        Box("pairs", "Pairing\nwho meets whom", (1, 0)),
        Box("net", "net, in fit", (2, 0), "trained"),
        Box("task", "cross-entropy", (3, 0), "loss"),
        Box("loss", "Loss: a function\nof the parameters", (3, 1.2), "solved"),
        Box("looks", "landscape, spectrum,\ngap", (2, 1.2), "look"),
        Box("cube", "cube: all settings", (1, 1.2)),
        Box("slider", "slider", (0, 1.2)),
    ),
    (
        Arrow("data", "pairs"),
        Arrow("pairs", "net"),
        Arrow("net", "task"),
        Arrow("task", "loss"),
        Arrow("loss", "looks"),
        Arrow("looks", "cube"),
        Arrow("cube", "slider"),
    ),
    "A slider selects from what was computed; it never asks Python.",
)
MODEL = Diagram(
    "any module under the instruments",
    (
        Box("module", "your nn.Module", (0, 0), "frozen"),
        Box("batch", "your batch", (0, 1.7)),
        Box("loss", "Loss.from_module", (1, 0.85), "solved"),
        Box("plane", "landscape.plane", (2, 0), "look"),
        Box("eigen", "curvature\n.top_eigenvalues", (2, 0.85), "look"),
        Box("flat", "flatness.lpf", (2, 1.7), "look"),
        Box("folder", "your folder of files", (0, 2.7)),
        Box("claim", "claims.run:\na verdict", (2, 2.7), "look"),
    ),
    (
        Arrow("module", "loss"),
        Arrow("batch", "loss"),
        Arrow("loss", "plane"),
        Arrow("loss", "eigen"),
        Arrow("loss", "flat"),
        Arrow("folder", "claim", "load, encode, train"),
    ),
    "The module is looked at as it is: in eval mode, and unchanged afterwards.",
)
SCALE = Diagram(
    "a grid of settings becomes a cube",
    (
        Box("grid", "axes: α, seed, …", (0, 0.6)),
        Box("members", "members: one\ntraining each", (1, 0.6), "trained"),
        Box("stack", "stacked: same shapes,\none core", (2, 0)),
        Box("workers", "executor=: dealt\nto workers", (2, 1.2)),
        Box("store", "store: each member\nas it is done", (3, 0.6)),
        Box("cube", "labelled cube", (4, 0.6), "look"),
    ),
    (
        Arrow("grid", "members"),
        Arrow("members", "stack"),
        Arrow("members", "workers"),
        Arrow("stack", "store"),
        Arrow("workers", "store"),
        Arrow("store", "cube"),
    ),
    "A member's seed is a setting: it gives the same numbers wherever it runs, and a killed sweep goes on.",
)
BENCH = Diagram(
    "five papers as terms of one loss",
    (
        Box("image", "picture", (0, 0)),
        Box("sound", "sound", (0, 1)),
        Box("words", "sentences,\nunpaired", (0, 2)),
        Box("fi", "encoder", (1, 0), "trained"),
        Box("fa", "encoder", (1, 1), "trained"),
        Box("ft", "encoder", (1, 2), "trained"),
        Box("teacher", "teacher's latent", (1, -1), "frozen"),
        Box("fusion", "fusion, head", (2.2, 1), "trained"),
        Box("latent", "synergy: α · latent", (3.4, -1), "loss"),
        Box("align", "wma: α · distance\ncox: w · prediction", (3.4, 0), "loss"),
        Box("task", "task", (3.4, 1), "loss"),
        Box("shared", "uml: λ · shared head", (3.4, 2), "loss"),
    ),
    (
        Arrow("sound", "image", "dml: who with whom", dashed=True),
        Arrow("image", "fi"),
        Arrow("sound", "fa"),
        Arrow("words", "ft"),
        Arrow("fi", "fusion"),
        Arrow("fa", "fusion"),
        Arrow("ft", "fusion", "alone"),
        Arrow("teacher", "latent"),
        Arrow("fi", "latent"),
        Arrow("fi", "align"),
        Arrow("fa", "align"),
        Arrow("fusion", "task"),
        Arrow("fusion", "shared"),
    ),
    "A paper is a recipe in which one weight is not 0.",
)
OWN = Diagram(
    "a paper of your own",
    (
        Box("term", "a term:\nbatch → number", (0, 0), "loss"),
        Box("look", "a look:\nnet → number", (0, 1.3), "look"),
        Box("bench", "xl.bench:\nan experiment", (1.15, 0.6)),
        Box("cube", "cube over settings\nand seeds", (2.2, 0.6), "trained"),
        Box("claim", "a claim: paired\ndifferences → a word", (3.3, 0), "solved"),
        Box("view", "a live view", (3.3, 1.2), "look"),
    ),
    (
        Arrow("term", "bench"),
        Arrow("look", "bench"),
        Arrow("bench", "cube", "sweep"),
        Arrow("cube", "claim"),
        Arrow("cube", "view", "explore"),
    ),
    "Four functions in a notebook; nothing of the package is edited.",
)
DIAGRAMS = {"start": START, "model": MODEL, "scale": SCALE, "bench": BENCH, "own": OWN}


def method(name: str) -> Diagram:
    """The diagram of a paper's method, or of a lesson that is about no paper.

    Args:
        name: "synergy" | "cox" | "uml" | "wma" | "dml", or "start" | "model" | "scale" | "bench" | "own".

    Returns:
        The diagram; a notebook shows it, ``print`` says it in words, ``.save("dml.svg")`` writes it.

    Raises:
        ValueError: an unknown name.
    """
    check.one_of("name", name, (*PAPERS, *DIAGRAMS))
    if name in DIAGRAMS:
        return DIAGRAMS[name]
    found: Diagram = importlib.import_module(f"xmodal_lab.papers.{name}").DIAGRAM
    return found
