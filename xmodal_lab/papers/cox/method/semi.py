"""Semi-supervised training: cross-entropy on few labelled pairs, connection (Eq 9), exploration (Eq 13)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from ....losses import Params
from ....training.descent import descend
from ....utils.random import Streams
from ..worlds.problem import Problem
from .anchors import labelled_rows
from .baselines import free, unlabelled_term
from .matching import Match, exploration, match_weights
from .nets import connect, connections, encode, in_modal_scores, posterior, start
from .options import Options


class Watch(Protocol):
    """Looks on while members train."""

    def __call__(self, step: int, params: Mapping[str, Tensor]) -> None:
        """Before each step of the learner."""

    def linking(self, params: Mapping[str, Tensor]) -> None:
        """Six times while connections are fitted to features that stand still."""


# Anchors' posteriors are computed anew after so many steps (ours).
_ANCHORS_EVERY = 5


@dataclass(eq=False)
class Trained:
    """What training leaves behind, for S members.

    Attributes:
        params: learner, head and connections, (S, …).
        anchors: (S, T) rows that anchored last; labels: (S, T) the classes they had; there: (S, T) which exist.
        right: (S,) share of the anchors whose class is the true one.
        warmup: rows agreed at the warm-up, and share of its anchors that were right; (S,) each, NaN where none.
    """

    params: Params
    anchors: Tensor
    labels: Tensor
    there: Tensor
    right: Tensor
    warmup: dict[str, Tensor] = field(default_factory=dict)


def inputs(problem: Problem, options: Options, split: str = "train") -> Tensor:
    """What the learner sees: the out-of-modal inputs, or the aligned perceptor's features."""
    rows = getattr(problem, split)
    return rows.aligned if options.algorithm == "aligned" else rows.out


def train_semi(problem: Problem, members: Sequence[Options], watch: Watch) -> Trained:
    """Train S members that differ in ``FREE`` options only; ``watch(step, params)`` is called before each step."""
    first, seeds = members[0], [o.seed for o in members]
    y = problem.train.labels
    rows = torch.stack([labelled_rows(y.cpu(), first.label_share, seed) for seed in seeds]).to(y.device)
    params = start(problem, first, seeds)
    if first.algorithm == "cox" and first.connection:
        params |= connections(problem, first, seeds)
    if first.algorithm != "random":
        params = _descend(problem, members, params, rows, watch)
    everywhere = torch.ones_like(rows, dtype=torch.bool)
    return Trained(params, rows, y[rows], everywhere, torch.ones(len(members), device=y.device))


def _descend(problem: Problem, members: Sequence[Options], params: Params, rows: Tensor, watch: Watch) -> Params:
    first, seeds = members[0], [o.seed for o in members]
    x, y = inputs(problem, first), problem.train.labels
    learned = torch.arange(len(y), device=y.device).expand(len(members), -1) if first.algorithm == "aligned" else rows
    streams = Streams(seeds, 4, problem.device)
    unlabelled = unlabelled_term(problem, members)
    link = connection_term(problem, members, rows)
    explore = Explorer(problem, members, rows, y[rows], torch.ones_like(rows, dtype=torch.bool))

    def losses(params: Params, step: int) -> Tensor:
        watch(step, params)
        batch = learned.gather(1, streams.integers(learned.shape[1], (first.batch,)))
        z = encode(params, x[batch])
        loss = F.nll_loss(posterior(params, z).transpose(1, 2), y[batch], reduction="none").mean(1)
        if first.algorithm != "cox":
            return loss + unlabelled(params, step)
        if first.connection:
            loss = loss + link(params, z, batch)
        if first.exploration and step >= first.explores_at:
            loss = loss + explore(params, step)
        return loss

    lr, decay = free(members, "lr"), free(members, "weight_decay")
    return descend(params, losses, steps=first.steps, lr=lr, weight_decay=decay)


def connection_term(
    problem: Problem, members: Sequence[Options], rows: Tensor
) -> Callable[[Mapping[str, Tensor], Tensor, Tensor], Tensor]:
    """Σ_k ‖z_O - q(x_O|v_k)‖², mean over pairs, and β_vib KL (Eq 9): (params, z_O, in-modal rows) → (S,)."""
    first = members[0]
    where = problem.device
    weight, beta = (free(members, name, where) for name in ("connect_weight", "beta_vib"))
    streams = Streams([o.seed for o in members], 7, where)
    partner = torch.arange(len(problem.train), device=where).expand(len(members), -1)
    if first.control == "pairs":  # every labelled row gets the in-modal views of another labelled row
        partner = partner.scatter(
            1, rows, rows.gather(1, Streams([o.seed for o in members], 8, where).orders(rows.shape[1]))
        )

    def term(params: Mapping[str, Tensor], z: Tensor, batch: Tensor) -> Tensor:
        other, loss = partner.gather(1, batch), z.new_zeros(len(members))
        for m, features in problem.train.inside.items():
            v, kl = connect(params, m, features[other], streams)
            loss = loss + weight * ((z - v) ** 2).sum(-1).mean(1) + beta * kl.mean(1)
        return loss

    return term


class Explorer:
    """The exploration term of Eq 13 and 15: D by the h_k*, refitted now and then; a batch of D each step.

    The term is |D| / (T + |D|) times a mean over pairs: the prefix that Eq 13 prints, with its inner sum a mean.
    """

    def __init__(
        self, problem: Problem, members: Sequence[Options], rows: Tensor, labels: Tensor, there: Tensor
    ) -> None:
        self.problem, self.first = problem, members[0]
        self.rows, self.labels, self.there = rows, labels, there
        self.weight = free(members, "explore_weight", problem.device)
        self.streams = Streams([o.seed for o in members], 9, problem.device)
        self.shuffle = Streams([o.seed for o in members], 10, problem.device)
        self.age = 0

    def refresh(self, params: Mapping[str, Tensor]) -> None:
        """Fit the h_k* on the mappings as they are now, and find D among the training rows."""
        detached = {name: p.detach() for name, p in params.items()}
        with torch.no_grad():
            z = encode(detached, self.problem.train.out)
        (self.scores,) = in_modal_scores(self.problem, self.first, detached, z)
        if self.first.control == "scrambled":
            order = self.shuffle.orders(z.shape[1])
            self.scores = self.scores.gather(2, order[None, :, :, None].expand_as(self.scores))
        top = self.scores.argmax(-1)
        self.disagree = (top != top[0]).any(0)

    def __call__(self, params: Mapping[str, Tensor], step: int) -> Tensor:
        """The weighted term, (S,)."""
        x = self.problem.train.out
        if self.age % self.first.refresh == 0:
            self.refresh(params)
        if self.age % _ANCHORS_EVERY == 0 or self.age % self.first.refresh == 0:
            with torch.no_grad():
                self.anchors = encode(params, x[self.rows])
                self.log_anchors = posterior(params, self.anchors)
        self.age += 1
        batch = self.streams.chosen(self.disagree, self.first.batch)
        z = encode(params, x[batch])
        own = posterior(params, z)
        where = batch[None, :, :, None].expand(len(self.scores), -1, -1, own.shape[-1])
        match = Match(self.scores.gather(2, where), own.detach(), z.detach(), self.anchors, self.labels, self.there,
                      self.streams.integers)  # fmt: skip
        weights = match_weights(self.first.rule, match, missing="skip")
        size, anchors = self.disagree.sum(1), self.there.sum(1)
        return self.weight * size / (anchors + size).clamp(min=1) * exploration(own, self.log_anchors, weights)
