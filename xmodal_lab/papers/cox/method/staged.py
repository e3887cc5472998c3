"""Semi-supervised training in the paper's order: labels, then connections, then split and explore (cox Sec 3.2, 4.3).

    1. the learner on the labelled pairs alone, for ``explore_from`` of the steps (Fig 6: 10 of 50 epochs);
    2. the connections on its features, which stand still meanwhile (Eq 9);
    3. h_k* on the mappings; agreement A, disagreement D; the most confident rows of A, class by class, become
       anchors with the class that they agree on; cross-entropy on labels and anchors, KL from D to anchors (Eq 13).

2 and 3 are repeated ``rounds`` times, each time with more of A. Unlike in "joint" training no gradient of the
reconstruction reaches the learner, and A and D are told apart where the paper looks at them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ....losses import Params
from ....training.descent import descend
from ....utils.random import Streams
from ..worlds.problem import Problem
from .anchors import labelled_rows, most_confident
from .baselines import free
from .matching import Match, exploration, match_weights
from .nets import connections, encode, in_modal_scores, posterior, start
from .options import Options
from .semi import Trained, Watch, connection_term

# Shares of each class's agreed rows that anchor, from the first round to the last (ours).
ANCHORED = (0.3, 0.7)
LINK_LR = 5e-3  # of the connections, in float32 steps of their own (ours)
LOOKS = 6  # at the first connections on their way (Fig 5)
Split = tuple[Tensor, Tensor]


def train_staged(problem: Problem, members: Sequence[Options], watch: Watch) -> Trained:
    """Train S members that differ in ``FREE`` options only; ``watch`` as in ``train_semi``."""
    return _Staged(problem, members, watch).train()


class _Staged:
    def __init__(self, problem: Problem, members: Sequence[Options], watch: Watch) -> None:
        self.problem, self.members, self.first, self.watch = problem, members, members[0], watch
        seeds = [o.seed for o in members]
        self.x, self.y = problem.train.out, problem.train.labels
        self.rows = torch.stack([labelled_rows(self.y.cpu(), self.first.label_share, seed) for seed in seeds])
        self.rows = self.rows.to(self.y.device)
        self.learner = start(problem, self.first, seeds)
        self.links = connections(problem, self.first, seeds) if self.first.connection else {}
        # The first two streams are those of the joint training: until exploration begins a run is its ERM.
        self.labels, self.pairs, self.anchored, self.apart, self.shuffle = (
            Streams(seeds, i, problem.device) for i in (4, 11, 12, 9, 10)
        )
        self.step = 0

    def train(self) -> Trained:
        first, begins = self.first, self.first.explores_at
        self._learn(begins, None)
        anchors = self.rows, self.y[self.rows], torch.ones_like(self.rows, dtype=torch.bool)
        left = first.steps - begins
        for r in range(first.rounds):
            if first.connection:
                self._link(looked_at=r == 0)
            split = self._split()
            share = ANCHORED[0] + (ANCHORED[1] - ANCHORED[0]) * r / max(1, first.rounds - 1)
            anchors = self._anchors(*split, share)
            self._learn(left * (r + 1) // first.rounds - left * r // first.rounds, (anchors, split))
        rows, labels, there = anchors
        right = ((self.y[rows] == labels) & there).sum(1) / there.sum(1)
        return Trained(self.learner | self.links, rows, labels, there, right)

    def _link(self, looked_at: bool) -> None:
        """Fit the connections to the features of the labelled rows, as they are now."""
        first = self.first
        with torch.no_grad():
            features = encode(self.learner, self.x)
        term = connection_term(self.problem, self.members, self.rows)
        looks = [round(i * (first.connect_steps - 1) / (LOOKS - 1)) for i in range(LOOKS)] if looked_at else []

        def losses(params: Params, step: int) -> Tensor:
            for _ in range(looks.count(step)):  # fewer steps than looks: some moments coincide
                self.watch.linking(self.learner | params)
            batch = self.rows.gather(1, self.pairs.integers(self.rows.shape[1], (first.batch,)))
            z = features.gather(1, batch[..., None].expand(-1, -1, features.shape[-1]))
            return term(params, z, batch)

        self.links = descend(self.links, losses, steps=first.connect_steps, lr=LINK_LR)

    def _split(self) -> Split:
        """The h_k* on every row, (K, S, M, C) log-probabilities, and which rows are in D, (S, M)."""
        with torch.no_grad():
            z = encode(self.learner, self.x)
            own = posterior(self.learner, z)
        (scores,) = in_modal_scores(self.problem, self.first, self.learner | self.links, z)
        if self.first.control == "scrambled":  # those of another row of which h_O says the same
            scores = scores.gather(2, _within(own.argmax(-1), self.shuffle)[None, :, :, None].expand_as(scores))
        top = scores.argmax(-1)
        disagree = (top != top[0]).any(0)
        if self.first.control == "own":  # as large an A, of the rows that h_O is sure of
            place = own.amax(-1).argsort(dim=-1, descending=True, stable=True).argsort(dim=-1, stable=True)
            disagree = place >= (~disagree).sum(1, keepdim=True)
            scores = own.expand_as(scores)
        return scores, disagree

    def _anchors(self, scores: Tensor, disagree: Tensor, share: float) -> tuple[Tensor, Tensor, Tensor]:
        """Labelled rows, and the most confident ``share`` of each class's agreed rows; (S, T) each."""
        found = [most_confident(scores[:, s].exp(), ~disagree[s], share) for s in range(len(disagree))]
        most = max(len(a.rows) for a in found)
        pad = [most - len(a.rows) for a in found]
        rows = torch.stack([F.pad(a.rows, (0, n)) for a, n in zip(found, pad, strict=True)])
        labels = torch.stack([F.pad(a.labels, (0, n)) for a, n in zip(found, pad, strict=True)])
        there = torch.stack([torch.arange(most, device=rows.device) < len(a.rows) for a in found])
        given = torch.ones_like(self.rows, dtype=torch.bool)
        return (
            torch.cat([self.rows, rows], 1), torch.cat([self.y[self.rows], labels], 1), torch.cat([given, there], 1)
        )  # fmt: skip

    def _learn(self, steps: int, found: tuple[tuple[Tensor, Tensor, Tensor], Split] | None) -> None:
        if not steps:
            return
        first, weight = self.first, free(self.members, "explore_weight", self.x.device)

        def crossed(params: Params, batch: Tensor, labels: Tensor) -> Tensor:
            log_p = posterior(params, encode(params, self.x[batch]))
            return F.nll_loss(log_p.transpose(1, 2), labels, reduction="none").mean(1)

        def losses(params: Params, step: int) -> Tensor:
            self.watch(self.step + step, params | self.links)
            batch = self.rows.gather(1, self.labels.integers(self.rows.shape[1], (first.batch,)))
            loss = crossed(params, batch, self.y[batch])
            if found is None:
                return loss
            (rows, labels, there), (scores, disagree) = found
            place = self.anchored.chosen(there, first.batch)
            loss = loss + crossed(params, rows.gather(1, place), labels.gather(1, place))
            if first.exploration:
                loss = loss + weight * self._explored(params, found[0], scores, disagree)
            return loss

        lr, decay = free(self.members, "lr"), free(self.members, "weight_decay")
        self.learner = descend(self.learner, losses, steps=steps, lr=lr, weight_decay=decay)
        self.step += steps

    def _explored(
        self, params: Params, anchors: tuple[Tensor, Tensor, Tensor], scores: Tensor, disagree: Tensor
    ) -> Tensor:
        """|D| / (T + |D|) times the mean KL of a batch of D to its anchors (Eq 13)."""
        rows, labels, there = anchors
        with torch.no_grad():
            points = encode(params, self.x[rows])
            targets = posterior(params, points)
        batch = self.apart.chosen(disagree, self.first.batch)
        z = encode(params, self.x[batch])
        own = posterior(params, z)
        where = batch[None, :, :, None].expand(len(scores), -1, -1, own.shape[-1])
        match = Match(scores.gather(2, where), own.detach(), z.detach(), points, labels, there, self.apart.integers)
        weights = match_weights(self.first.rule, match, missing="skip")
        size, count = disagree.sum(1), there.sum(1)
        return size / (count + size) * exploration(own, targets, weights)


def _within(groups: Tensor, streams: Streams) -> Tensor:
    """(S, M) a random row of the same group for each row: a permutation within each."""
    drawn = streams.orders(groups.shape[1])
    by_drawn = drawn.gather(1, groups.gather(1, drawn).argsort(dim=-1, stable=True))  # rows by group, in drawn order
    by_row = groups.argsort(dim=-1, stable=True)
    return torch.empty_like(drawn).scatter_(1, by_row, by_drawn)
