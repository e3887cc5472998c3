"""A recipe: a pairing and a weighted sum of terms. The five papers are presets of one thing (``recipes``).

    mix="sum"       L = task + Σ_i w_i term_i
    mix="convex"    L = (1 - Σ_i w_i) task + Σ_i w_i term_i      as synergy writes it (Sec 3.3)

A weight of 0 is never computed, and a term that is never computed prepares nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from ..data.pairing import MODES, Pairing
from ..losses import Params
from ..models.latents import Seen, answering
from ..utils import checks as check
from ..utils.random import seed_of
from .terms import TERMS, Context, Task, Term, View

MIXES = ("sum", "convex")


@dataclass(frozen=True)
class Recipe:
    """What a net is trained with: terms and their weights, and who is paired with whom.

    Args:
        terms: of :mod:`xmodal_lab.terms`, or of your own (:func:`~xmodal_lab.terms.term`); names differ. A string is
            the place of one, "package.module:NAME", or a name that an installed package announces.
        pairing: a :class:`~xmodal_lab.Pairing`, or a mode with share 1.
        mix: "sum", or "convex": the task gets what the other weights leave of 1.
        name: what tables and plots call it.

    Raises:
        ValueError: two terms of one name or setting, no term, weights of a convex mix beyond 1.

    Example:
        >>> import xmodal_lab as xl
        >>> recipe = xl.Recipe((xl.terms.Task(), xl.terms.Alignment(target=1.0)), pairing="same_class")
        >>> recipe.settings
        {'pairing': 'same_class', 'share': 1.0, 'a_align': 0.1, 'b_align': 1.0}
        >>> recipe.with_settings(a_align=0.3, share=0.5).settings["a_align"]
        0.3
    """

    terms: tuple[Term, ...] = (Task(),)  # strings become terms
    pairing: str | Pairing = field(default_factory=Pairing)
    mix: str = "sum"
    name: str = ""

    def __post_init__(self) -> None:
        alone = isinstance(self.terms, Term | str)
        listed = (self.terms,) if alone else check.listed("terms", self.terms)
        found: list[Any] = [TERMS.get(t) if isinstance(t, str) else t for t in listed]
        given: tuple[Term, ...] = tuple(found)
        for part in given:
            check.instance("a term", part, Term, "such as xl.terms.Task(); a function becomes one by @xl.terms.term")
        object.__setattr__(self, "terms", given)
        if not given:
            raise ValueError("a recipe needs at least one term, such as xl.terms.Task(), got none.")
        if not isinstance(self.pairing, Pairing):
            object.__setattr__(self, "pairing", Pairing(check.one_of("pairing", self.pairing, MODES)))
        check.one_of("mix", self.mix, MIXES)
        # Settings of all terms share one name space: each is an axis of a sweep and a word on a slider.
        taken: dict[str, str] = {"pairing": "the pairing", "share": "the pairing"}
        for part in given:
            if sum(other.called == part.called for other in given) > 1:
                raise ValueError(f"two terms are called {part.called!r}; a recipe has one of each name.")
            for setting in part.settings:
                if setting in taken:
                    raise ValueError(f"setting {setting!r} of term {part.called!r} is taken by {taken[setting]}.")
                taken[setting] = f"term {part.called!r}"
        if self.mix == "convex":
            if not any(isinstance(part, Task) for part in given):
                raise ValueError("a convex mix shares 1 between the task and the others; add xl.terms.Task().")
            # Settings reach a recipe one by one, as sliders do, so a sum above 1 is refused here and not in training.
            total = sum(self.weights.values())
            if total > 1 + 1e-9:
                raise ValueError(f"the weights of a convex mix must add up to at most 1, these give {total:g}.")

    @property
    def plan(self) -> Pairing:
        """The pairing, as an object."""
        return self.pairing if isinstance(self.pairing, Pairing) else Pairing(self.pairing)

    @property
    def weights(self) -> dict[str, float]:
        """Term -> its weight; the task, which always counts once, is not among them."""
        return {t.called: t.settings[t.weight_setting] for t in self.terms if t.weight_setting is not None}

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that a sweep may vary, by the name of its axis."""
        named: dict[str, Any] = {"pairing": self.plan.mode, "share": self.plan.share}
        for part in self.terms:
            named |= part.settings
        return named

    def with_settings(self, **given: Any) -> Recipe:
        """The same recipe with other weights, targets, share or pairing: ``given``, setting -> value.

        Raises:
            ValueError: a setting that this recipe has not; a value that makes no sense.
        """
        for name in given:
            check.one_of("setting of the recipe", name, self.settings)
        pairing = self.plan
        if "pairing" in given:
            pairing = replace(pairing, mode=check.one_of("pairing", given["pairing"], MODES))
        if "share" in given:
            pairing = replace(pairing, share=check.share("share", given["share"]))
        terms = []
        for part in self.terms:
            mine = {name: value for name, value in given.items() if name in part.settings}
            terms.append(part.with_settings(**mine) if mine else part)
        return replace(self, terms=tuple(terms), pairing=pairing)

    @property
    def plain(self) -> bool:
        """Whether it is the task alone, unsmoothed: what :func:`~xmodal_lab.fit` does without a recipe."""
        return all(isinstance(t, Task) or self.weight(t.called) == 0 for t in self.terms) and self._smoothing() == 0

    def shape(self) -> tuple[Any, ...]:
        """All but the settings, comparable: nets whose recipes agree on it may train as one stack."""
        return (self.mix, *(part.shape() for part in self.terms))

    def record(self) -> dict[str, Any]:
        """JSON-able: name, mix, terms and settings."""
        return {"name": self.name, "mix": self.mix, "terms": [t.called for t in self.terms], **self.settings}

    def weight(self, called: str) -> float:
        """The weight of the term ``called`` so; 1 for the task."""
        return self.weights.get(called, 1.0)

    def _smoothing(self) -> float:
        return max((t.label_smoothing for t in self.terms if isinstance(t, Task)), default=0.0)


class Objective:
    """The training loss of K members whose recipes differ in their settings alone.

    Args:
        recipes: one of each member.
        contexts: of each member, see :class:`~xmodal_lab.terms.Context`.

    Attributes:
        params: the terms' own parameters, "term:name" -> (K, ...), to be trained along.

    Raises:
        ValueError, TypeError: a model or data that a term does not fit; recipes of different shape.
    """

    def __init__(self, recipes: Sequence[Recipe], contexts: Sequence[Context]) -> None:
        # Weights and settings become tensors (K,): one program serves members that differ in them.
        first, like = recipes[0], next(contexts[0].model.parameters())
        if any(recipe.shape() != first.shape() for recipe in recipes):
            raise ValueError("the members of a stack need recipes that differ in their settings alone.")
        self.mix, self.members = first.mix, len(recipes)
        self.where, self.dtype = like.device, like.dtype
        weights = {t.called: [r.weight(t.called) for r in recipes] for t in first.terms}
        # A term that no member weighs costs nothing: it is neither prepared nor drawn for.
        self.terms = [t for t in first.terms if any(weights[t.called])]
        for context in contexts:
            answering(context.model)
        self.settings: dict[str, Params] = {}
        for t in self.terms:
            each = [_of(recipe, t.called).settings for recipe in recipes]
            self.settings[t.called] = {name: torch.tensor([s[name] for s in each]).to(like) for name in t.settings}
        self.weights = {t.called: torch.tensor(weights[t.called], dtype=torch.float64).to(like) for t in self.terms}
        if self.mix == "convex":
            others = [w for t, w in zip(self.terms, self.weights.values(), strict=True) if not isinstance(t, Task)]
            left = 1 - torch.stack(others).sum(0) if others else torch.ones(self.members).to(like)
            self.weights |= {t.called: left for t in self.terms if isinstance(t, Task)}
        # Each member's by its own term, which may differ in what it prepares, such as how many rows.
        self.states = {
            t.called: [_of(r, t.called).prepare(c) for r, c in zip(recipes, contexts, strict=True)] for t in self.terms
        }
        # A generator for each term and member: switching one term on leaves the draws of the others as they were.
        self.generators = {
            t.called: [torch.Generator().manual_seed(seed_of(c.seed, t.called)) for c in contexts] for t in self.terms
        }
        self.params: Params = {}
        for t in self.terms:
            starts = [t.start(c, torch.Generator().manual_seed(seed_of(c.seed, f"{t.called}:start"))) for c in contexts]
            for name in starts[0]:
                self.params[f"{t.called}:{name}"] = torch.stack([one[name] for one in starts])
        # What a term remembers over the steps, such as the distance of the first batch (wma).
        self.memory: dict[str, dict[str, Any]] = {t.called: {} for t in self.terms}
        self.draws: dict[str, dict[str, Tensor]] = {}
        self.step = 0
        self.seen: dict[str, list[Tensor]] = {}
        self.sizes: list[int] = []

    def epoch(self, rows: Tensor, labels: Tensor) -> None:
        """Draw for the epoch whose rows these are: (K, n) each, in the order of training.

        On the CPU, where everything is drawn; what was drawn goes to where the members train.
        """
        self.seen, self.sizes = {t.called: [] for t in self.terms}, []
        rows, labels, where = rows.cpu(), labels.cpu(), self.where
        for t in self.terms:
            each = [
                t.draw(state, rows[k], labels[k], generator)
                for k, (state, generator) in enumerate(
                    zip(self.states[t.called], self.generators[t.called], strict=True)
                )
            ]
            self.draws[t.called] = {name: torch.stack([one[name] for one in each]).to(where) for name in each[0]}

    def __call__(
        self,
        part: slice,
        rows: Tensor,
        labels: Tensor,
        inputs: Mapping[str, Tensor],
        seen: Seen,
        alone: Callable[[str, Tensor], Tensor],
        params: Params | None = None,
        again: bool = False,
    ) -> Tensor:
        """(K,) the loss of each member on the rows ``part`` of the epoch.

        Args:
            part: of the epoch's order.
            rows, labels: (K, B), of this part.
            inputs: modality -> (K, B, ...).
            seen: latents, masks and outputs with the members first.
            alone: see :class:`~xmodal_lab.terms.View`.
            params: the terms' own, where they are not :attr:`params`.
            again: the same batch once more (SAM's second gradient): nothing is noted, the step is not counted.
        """
        own = self.params if params is None else params
        total = seen.outputs.new_zeros(self.members)
        for t in self.terms:
            view = View(
                self.step, rows, labels, inputs, seen.latents, seen.masks, seen.outputs, self.settings[t.called],
                {name: drawn[:, part] for name, drawn in self.draws[t.called].items()},
                {name.partition(":")[2]: p for name, p in own.items() if name.startswith(f"{t.called}:")},
                self.states[t.called], self.memory[t.called], alone,
            )  # fmt: skip
            value = t.value(view)
            total = total + self.weights[t.called] * value
            if not again:
                self.seen[t.called].append(value.detach())
        if not again:
            self.step += 1
            self.sizes.append(labels.shape[1])
        return total

    def means(self) -> dict[str, Tensor]:
        """Of the epoch so far, the mean of each term before its weight: term -> (K,)."""
        # The last batch of an epoch may be smaller: a mean over rows, not over batches.
        share = torch.tensor(self.sizes, dtype=torch.float64)
        share = (share / share.sum())[:, None]
        if not self.seen:
            return {}
        # Read at once: the host waits for a GPU once.
        table = torch.stack([torch.stack(values).to(self.dtype) for values in self.seen.values()]).cpu().double()
        return dict(zip(self.seen, (table * share).sum(1), strict=True))


def _of(recipe: Recipe, called: str) -> Term:
    return next(t for t in recipe.terms if t.called == called)
