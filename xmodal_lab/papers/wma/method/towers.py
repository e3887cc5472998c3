"""Towers under plain settings: pretrained on masked words, fine-tuned with or without alignment, tested under noise."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ....data.samples import Dataset, Samples, judged_alike
from ....experiments.world import World, data_seed
from ....models.evaluation import eval_mode
from ....models.one_tower import OneTower
from ....sweeps.experiment import Report, tell
from ....training import DivergedError, loop
from ....training.alignment import Transport
from ....utils import checks as check
from ....utils.kept import kept
from ....utils.torch_state import pick_device, seeded
from .. import worlds as tasks
from .loss import Alignment, distances
from .pretraining import masked_words, word_modality
from .reading import readable, unreadable

Values = Mapping[str, Any]

DATA = {"task": "red", "head": "binary", "n_train": 800, "n_val": 300, "n_test": 600, "data_seed": None}
# Small enough for seconds a run; linear decay with warm-up as in wma Sec 4.1, the numbers ours.
TOWER = {"modalities": "image+text", "width": 32, "layers": 2, "heads": 2, "patch": 8, "frames": 4}
TOWER_SIZES = ("width", "layers", "heads")
CUTS = {"patch": 0, "frames": 0}  # of a dataset of one's own: chosen for each modality
TRAINING = {"pretraining": 500, "steps": 300, "batch_size": 32, "lr": 2e-3, "weight_decay": 0.01, "warmup": 25}
# α, β, reference: wma Eq 9; α = 0 is the baseline. The rest as in Transport.
ALIGNMENT = {
    "alpha": 0.0, "beta": 0.0, "reference": "first_batch", "cost": "cosine", "transport": "exact",
    "ipot_steps": 50, "ipot_beta": 0.5, "epsilon": 0.05,
}  # fmt: skip
# Noise of amplitude 3, half of the samples without a modality (wma Sec 4.1).
TESTS = {"amplitude": 3.0, "relative": False, "missing": 0.5}
# order: of the batches; other orders with the same seed are reruns of the same thing.
SEEDS = {"order": 0, "seed": 0, "device": "auto"}
PRETRAINING_SEED, PRETRAINING_SIZE = 10_000, 2000  # other draws than any task
EVERY = 10  # steps between two looks at D


@dataclass(frozen=True)
class Trained:
    """A fine-tuned tower and its way there.

    Attributes:
        tower: in eval mode.
        start: (pairs,) D_0, the mean of the first batch at initialisation.
        curve: (looks, pairs) mean D of the batch at steps 0, 10, 20, …, and the last.
        added: parameters that training had beyond those of the tower; 0.
        share: mean share of the penalty in the whole loss, over the looks; 0 for the baseline.
    """

    tower: OneTower
    start: Tensor
    curve: Tensor
    added: int
    share: float = 0.0


@dataclass(frozen=True)
class Towers(World):
    """Towers on one dataset: on ``given``, or on the task that the settings name.

    ``s`` are a member's settings; ``report(share, text)`` is called on the way.
    """

    given: Dataset | None = None

    def __post_init__(self) -> None:
        if self.given is not None:
            check.instance("dataset", self.given, Dataset, "or None for the tasks that are drawn")
            object.__setattr__(self, "given", judged_alike(self.given))

    @property
    def defaults(self) -> dict[str, Any]:
        """All settings with their defaults."""
        rest = {**TRAINING, **ALIGNMENT, **TESTS, **SEEDS}
        if self.given is None:
            return {**DATA, **TOWER, **rest}
        unread = unreadable(self.given)
        read = [m for m in self.given.modalities if m not in unread] or list(self.given.modalities)
        own = {"modalities": "+".join(read), **CUTS}
        return {"head": tasks.head_of(self.given), **TOWER, **own, **rest}

    def check(self, s: Values) -> None:
        """Refuse settings that make no sense.

        Raises:
            ValueError, TypeError: which, and what would.
        """
        Alignment(s["alpha"], s["beta"], s["reference"], transport_of(s))
        known = self.given.modalities if self.given is not None else ("image", "text", "audio")
        if len(check.modalities_of(s["modalities"].split("+"), known)) < 2:
            raise ValueError(f"wma aligns at least two modalities, got {s['modalities']!r}; join names by '+'.")
        check.one_of("head", s["head"], tasks.HEADS)
        for name in ("steps", "batch_size", *TOWER_SIZES):
            check.integer(name, s[name], at_least=1)
        for name in (*CUTS, "pretraining", "warmup", "seed", "order"):
            check.integer(name, s[name], at_least=0)
        pick_device(s["device"])
        check.positive("lr", s["lr"])
        check.non_negative("weight_decay", s["weight_decay"])
        check.non_negative("amplitude of the noise", s["amplitude"])
        check.share("missing", s["missing"])
        if self.given is None:
            check.one_of("task", s["task"], tasks.TASKS)
            for name, least in (("n_train", 1), ("n_val", 0), ("n_test", 1)):
                check.integer(name, s[name], at_least=least)
            if s["data_seed"] is not None:
                check.integer("data_seed", s["data_seed"], at_least=0)
            return
        if lacking := self.lacking():
            raise ValueError(f"wma cannot run on {self.given.name!r}: it needs {lacking}")
        unread = unreadable(self.given, s["patch"], s["frames"])
        for m in s["modalities"].split("+"):
            if m in unread:
                raise ValueError(f"wma cannot run on {m!r} of {self.given.name!r}: {unread[m]}")

    def lacking(self, modalities: int = 2) -> str:
        """What the given dataset needs for wma with so many ``modalities``, in words; empty where it has all."""
        if self.given is None:
            return ""
        if len(self.given.modalities) < modalities:
            return f"a dataset with {modalities} modalities"
        if self.given.val is None:
            return "a validation split, on which α and β are chosen"
        unread = unreadable(self.given)
        if len(self.given.modalities) - len(unread) < modalities:
            return f"tokens: {next(iter(unread.values()))}"
        return ""

    def load(self, s: Values) -> Dataset:
        """The dataset of these settings, as a tower reads it."""
        if self.given is not None:
            return readable(self.given)
        sizes = {k: s[k] for k in ("n_train", "n_val", "n_test")}
        return tasks.world(s["task"], s["head"], tuple(s["modalities"].split("+")), seed=data_seed(s), **sizes)

    def head(self, s: Values) -> tasks.Head:
        """What is predicted."""
        return tasks.HEAD[s["head"]]

    def net(self, s: Values) -> OneTower:
        """The tower before fine-tuning: pretrained, with a new head."""
        # α, β and the tests are not among them: all members of a sweep start from one pretrained tower.
        keys = ("data_seed", *TOWER, "pretraining", "seed", "device")
        tower = copy.deepcopy(_pretrained(self, tuple((k, s[k]) for k in keys if k in s)))
        with seeded(s["seed"]):
            tower.head = torch.nn.Linear(s["width"], self.head(s).outputs(self.load(s)))
        return tower.to(pick_device(s["device"]))

    def train(self, s: Values, report: Report | None = None) -> Trained:
        """One tower, fine-tuned: task + α (D - β D̄)² (wma Eq 9, 10). The last few are kept.

        Raises:
            DivergedError: the loss is NaN or infinite.
        """
        keys = tuple((k, s[k]) for k in self.defaults if k not in TESTS)
        return _trained(self, keys, report=report or (lambda *_: None))


def transport_of(s: Values) -> Transport:
    """Solver and cost of these settings."""
    return Transport(s["transport"], s["cost"], s["ipot_steps"], s["ipot_beta"], s["epsilon"])


@kept(64)
def _pretrained(towers: Towers, settings: tuple[tuple[str, Any], ...]) -> OneTower:
    """A tower that knows words: those of the world in other draws, or of the given training split."""
    s = dict(settings)
    names = s["modalities"].split("+")
    if towers.given is not None:
        dataset = readable(towers.given)
    else:  # one for all tasks, as they share pictures and words
        seed = PRETRAINING_SEED + data_seed(s)
        size = PRETRAINING_SIZE if s["pretraining"] else 1
        dataset = tasks.world("both", "binary", tuple(names), size, 1, 2, seed)
    shape = {k: s[k] for k in ("width", "layers", "heads", "patch", "frames")}
    tower = OneTower.for_dataset(dataset, names, outputs=1, seed=s["seed"], **shape)
    worded = word_modality(tower, dataset)
    if not s["pretraining"] or worded is None:
        return tower
    tower = tower.to(pick_device(s["device"]))
    return masked_words(tower, dataset.train.complete(names), *worded, s["pretraining"], s["seed"])


@kept(64)
def _trained(towers: Towers, settings: tuple[tuple[str, Any], ...], *, report: Report) -> Trained:
    s = dict(settings)
    dataset, head, tower = towers.load(s), towers.head(s), towers.net(s).train()
    align = Alignment(s["alpha"], s["beta"], s["reference"], transport_of(s))
    where = next(tower.parameters()).device
    train = dataset.train.complete(tower.modalities).to(where)
    targets, steps = head.targets(train), s["steps"]
    draw = torch.Generator().manual_seed(1000 * s["seed"] + s["order"])
    params = list(tower.parameters())
    adam = torch.optim.AdamW(params, s["lr"], weight_decay=s["weight_decay"], fused=where.type in loop.FUSED)
    curve: list[Tensor] = []
    shares = [0.0]

    def loss_at(step: int) -> Tensor:
        rows = torch.randint(0, len(train), (min(s["batch_size"], len(train)),), generator=draw).to(where)
        hidden = tower.hidden({m: train.inputs[m][rows] for m in tower.modalities})
        if step == 0:
            align.begin(hidden)
        loss = head.loss(tower.classify(hidden), targets[rows])
        look = step % EVERY == 0 or step == steps - 1
        if s["alpha"] > 0:
            extra, distance = align(hidden)
            loss = loss + extra
            if look:
                shares.append(float(extra.detach() / loss.detach().clamp(min=1e-12)))
        elif look:
            with torch.no_grad():
                distance = distances(hidden, align.how, quiet=True)
        if look:
            curve.append(distance.detach().mean(0))
            report(step / steps, f"step {step} of {steps}")
            tell(report, lambda: _so_far(s, curve, align))
        if not bool(torch.isfinite(loss.detach())):
            raise DivergedError(
                f"the loss became {float(loss.detach())} in step {step}, α = {s['alpha']:g}; lower α or lr."
            )
        return loss

    loop.train(adam, loss_at, steps, rate=loop.warmed_up(s["lr"], steps, s["warmup"]))
    # Counted, not claimed: the method adds no parameter (Sec 1).
    stepped = sum(p.numel() for group in adam.param_groups for p in group["params"])
    start = align.first if align.first is not None else curve[0]
    added = stepped - sum(p.numel() for p in tower.parameters())
    share = sum(shares) / max(1, len(shares) - 1)
    return Trained(tower.eval(), start.cpu(), torch.stack(curve).cpu(), added, share)


def _so_far(s: Values, curve: list[Tensor], align: Alignment) -> dict[str, Any]:
    """D / D_0 (pair, step) of a training that goes on."""
    import xarray as xr

    start = (align.first if align.first is not None else curve[0]).cpu()
    steps = [min(EVERY * k, s["steps"] - 1) for k in range(len(curve))]
    pairs = ["-".join(pair) for pair in combinations(s["modalities"].split("+"), 2)]
    return {"ratio": xr.DataArray((torch.stack(curve).cpu() / start).T.numpy(), {"pair": pairs, "step": steps})}


def cases_of(modalities: str) -> list[str]:
    """The tests of wma Tab 1 for ``modalities`` ("image+text"): normal, noise on each, each missing."""
    names = check.instance("modalities", modalities, str, "names joined by '+'").split("+")
    return ["normal", *(f"{m} noise" for m in names), *(f"{m} missing" for m in names)]


@torch.no_grad()
def tested(tower: OneTower, samples: Samples, head: tasks.Head, s: Values) -> np.ndarray:
    """The metric in each case of :func:`cases_of`; every tower meets the same noise and the same gaps."""
    samples = samples.complete(tower.modalities).to(next(tower.parameters()).device)
    targets, scores = head.targets(samples), []
    with eval_mode(tower):
        clean = tower.embed({m: samples.inputs[m] for m in tower.modalities})
        for case in cases_of("+".join(tower.modalities)):
            m, _, kind = case.rpartition(" ")
            tokens = clean
            if kind == "noise":
                tokens = clean.noisy(m, s["amplitude"], relative=s["relative"], seed=s["seed"])
            elif kind == "missing":
                tokens = clean.without(m, s["missing"], seed=s["seed"])
            scores.append(head.score(tower.classify(tower.run(tokens)), targets))
    return np.array(scores)
