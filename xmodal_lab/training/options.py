"""What one training run is asked: every option is written once, here, with its default, its check and its meaning.

``fit`` takes the options as keywords, ``fit_stack`` also as lists, one value per member; experiments have those that
are plain numbers and names (:data:`PLAIN`) as settings, so that each is an axis of a sweep and a slider. A new option
is a field here, and whatever it does in :meth:`Options.stepper`, :mod:`.loop` or :mod:`.fitting`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar, cast

import torch

from ..data import augmentation
from ..data.augmentation import Augmentation
from ..data.pairing import MODES, Pairing
from ..data.samples import Dataset
from ..utils import checks as check
from ..utils.options import check_fields, names, option, shown
from .recipe import Recipe

OPTIMIZERS = ("adam", "sgd")
PRECISIONS = ("full", "bf16")
CHOICES = ("last", "best")
Function = TypeVar("Function", bound=Callable[..., Any])


class DivergedError(FloatingPointError):
    """The loss became NaN or infinite; the message names epoch and learning rate."""


def _whole(at_least: int) -> Callable[[str, Any], int]:
    return lambda name, value: check.integer(name, value, at_least=at_least)


def _among(known: Sequence[str]) -> Callable[[str, Any], str]:
    return lambda name, value: check.one_of(name, value, known)


@dataclass(frozen=True)
class Options:
    """What one training run is asked, checked as it is made; :func:`fit` says what each field means.

    Raises:
        ValueError, TypeError: a setting that makes no sense.
    """

    pairing: str | Pairing = option(
        "fixed", 'a mode ("fixed", "same_class", "permuted", "shuffled", "noisy") or a :class:`Pairing`.', own=True
    )
    share: float = option(
        1.0, "of the pairs that are drawn anew, in [0, 1]; 0 is SML, 1 is DML (dml, Sec 3.3).", own=True
    )
    epochs: int = option(60, "passes over the training rows (60: WORLDS' digits world; ours).", _whole(1))
    batch_size: int = option(64, "rows of a step (64: as epochs).", _whole(1))
    lr: float = option(1e-3, "learning rate (1e-3: as epochs).", check.positive, own=True)
    optimizer: str = option("adam", '"adam", or "sgd" with ``momentum`` 0.9 as in dml, App B.2.', _among(OPTIMIZERS))
    momentum: float = option(0.9, 'of "sgd".', check.non_negative)
    weight_decay: float = option(1e-4, "λ of λ θ in the gradient (1e-4: as epochs).", check.non_negative, own=True)
    choose: str = option(
        "last", 'keep the weights of the "last" epoch, or of the "best" one on ``dataset.val``.', _among(CHOICES)
    )
    label_smoothing: float = option(
        0.0, "share of the target that is spread over all classes (0.1 in Szegedy et al. 2016).", check.share
    )
    sam: float = option(
        0.0,
        "ρ of sharpness-aware minimisation (0.05 in Foret et al. 2021): each step takes the gradient at θ + ρ g/‖g‖, "
        "at twice the cost. 0: none.",
        check.non_negative,
    )
    swa: float = option(
        0.0,
        "share of the epochs, the last ones, whose weights are averaged (0.25 in Izmailov et al. 2018, at a constant "
        "learning rate); from then on the average is what is reported, chosen and returned.",
        check.share,
    )
    augment: str = option(
        "",
        'names joined by "+" out of jitter, crop, flip, time_mask, frequency_mask; see '
        ":mod:`xmodal_lab.data.augmentation`.",
    )
    seed: int = option(
        0,
        "of batches, pairings and augmentation. Initial weights belong to the net (``for_dataset(seed=…)``).",
        _whole(0),
        own=True,
    )
    precision: str = option(
        "full",
        'of a step: "full" is the net\'s own; "bf16" multiplies in bfloat16 (autocast), which GPUs do faster. Weights, '
        "losses, the optimizer and everything that is reported stay in float32.",
        _among(PRECISIONS),
        machine=True,
    )
    compile: bool = option(
        False,
        "whether a step goes through ``torch.compile``: its kernels are written for this net, which takes a minute "
        "first and changes round-off.",
        check.boolean,
        machine=True,
    )
    recipe: Recipe | None = option(
        None,
        "the pairing and the terms of the loss, see :class:`~xmodal_lab.Recipe`; the task alone, under ``pairing``, "
        "when not given. Held-out losses are the task's.",
        own=True,
    )

    def __post_init__(self) -> None:
        if self.recipe is not None:
            check.instance("recipe", self.recipe, Recipe, "such as xl.recipes.dml(1.0)")
            if self.pairing != "fixed":
                raise ValueError("a recipe names its own pairing; give recipe.with_settings(pairing=…, share=…).")
            if self.label_smoothing:
                raise ValueError("a recipe smooths labels itself; give xl.terms.Task(label_smoothing=…).")
            object.__setattr__(self, "pairing", self.recipe.plan)
        if not isinstance(self.pairing, Pairing):
            mode = check.one_of("pairing", self.pairing, MODES)
            object.__setattr__(self, "pairing", Pairing(mode, self.share))
        check_fields(self)
        if self.label_smoothing == 1:
            raise ValueError("label_smoothing must be below 1: at 1 the labels say nothing.")
        augmentation.named(self.augment)

    @property
    def plan(self) -> Pairing:
        """The pairing, as an object."""
        return cast(Pairing, self.pairing)  # __post_init__ made it one

    def stepper(self, params: Iterable[Any], device: torch.device) -> torch.optim.Optimizer:
        """The optimizer of ``params`` (tensors, or groups of them)."""
        if self.optimizer == "sgd":
            return torch.optim.SGD(params, self.lr, momentum=self.momentum, weight_decay=self.weight_decay)
        # Adam's update is fused: one kernel instead of one per parameter and operation.
        fused = device.type in ("cpu", "cuda")
        return torch.optim.Adam(params, self.lr, weight_decay=self.weight_decay, fused=fused)

    def changes(self, dataset: Dataset) -> Augmentation | None:
        """What is done to training inputs."""
        return augmentation.augmentation(self.augment, dataset.kinds, dataset.shapes)

    # Two streams: with augmentation on, the order of the rows stays what it was without.
    def draws(self) -> tuple[torch.Generator, torch.Generator]:
        """Generators of the order of the rows, and of what augmentation draws."""
        return torch.Generator().manual_seed(self.seed), torch.Generator().manual_seed(self.seed + (1 << 40))

    def record(self, dataset: Dataset, modalities: Sequence[str], device: torch.device) -> dict[str, Any]:
        """Everything that decided the run, JSON-able."""
        plan = self.plan
        return {
            "dataset": dataset.name, "modalities": list(modalities), "pairing": plan.mode, "share": plan.share,
            "own": plan.own, "rows": plan.rows, **{name: getattr(self, name) for name in PLAIN},
            **{name: getattr(self, name) for name in MACHINE}, "device": str(device), "torch": torch.__version__,
            **({} if self.recipe is None else {"recipe": self.recipe.record()}),
        }  # fmt: skip

    def diverged(self, loss: float, epoch: int) -> DivergedError:
        """The error to raise when the training loss is not finite."""
        return DivergedError(
            f"the training loss became {loss} in epoch {epoch} with learning rate {self.lr:g}; "
            "try a smaller lr, and look for extreme values in the inputs."
        )


NAMES = names(Options)
# What the members of one stack may differ in.
OWN = tuple(f.name for f in fields(Options) if f.metadata.get("own"))
# How a machine takes a step, which is no part of what is asked: no setting of an experiment, but told in the record.
MACHINE = tuple(f.name for f in fields(Options) if f.metadata.get("machine"))
# What can be a setting of an experiment: numbers and names. A pairing there is a mode, a share and more.
PLAIN = tuple(name for name in NAMES if name not in ("pairing", "share", "recipe", *MACHINE))


def settings_of(*without: str, **others: Any) -> dict[str, Any]:
    """The plain options as settings of an experiment, and the device.

    Args:
        without: options that the experiment does not leave to its user.
        others: defaults, instead of the usual ones.

    Returns:
        Name -> default, in the order of the fields, "device" last.
    """
    usual = {f.name: f.default for f in fields(Options) if f.name in PLAIN}
    return {**{k: others.get(k, v) for k, v in usual.items() if k not in without}, "device": "auto"}


def with_options(function: Function) -> Function:
    """A decorator: ``**settings`` of a function are the options, in its signature and its docstring."""
    shown(function, Options, {}, NAMES)
    return function
