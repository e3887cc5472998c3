"""Unsupervised training: warm-up (Eq 14), connections from centroids, emergent correspondence (Eq 15)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ....instruments.metrics import disagreement
from ....losses import Params
from ....training.descent import descend
from ....utils.random import Streams
from ..worlds.problem import Problem
from .anchors import Anchors, asked_count, emergent, top_agreed
from .baselines import free, unlabelled_term
from .nets import connect, connections, encode, in_modal_scores, mapped, posterior, start
from .options import Options
from .semi import Explorer, Trained, Watch

CONNECT_STEPS = 60  # of the connections in each round (ours)
_NONE = torch.zeros(0, dtype=torch.long)
_NOBODY = Anchors(_NONE, _NONE, torch.zeros(0), _NONE, 0)


def train_unsupervised(problem: Problem, members: Sequence[Options], watch: Watch) -> Trained:
    """Train S members without any label of the out-of-modal data; ``watch`` as in ``train_semi``."""
    first, seeds = members[0], [o.seed for o in members]
    params, none = start(problem, first, seeds), _NONE.to(problem.device).expand(len(members), 0)
    if first.algorithm in ("ssl", "moco"):
        term = unlabelled_term(problem, members)

        def losses(params: Params, step: int) -> Tensor:
            watch(step, params)
            return term(params, step)

        lr, decay = free(members, "lr"), free(members, "weight_decay")
        params = descend(params, losses, steps=first.steps, lr=lr, weight_decay=decay)
    if first.algorithm in ("random", "ssl", "moco"):
        return Trained(params, none, none, none.bool(), torch.full((len(members),), torch.nan, device=problem.device))
    return _Cox(problem, members, params, watch).train()


class _Cox:
    def __init__(self, problem: Problem, members: Sequence[Options], params: Params, watch: Watch) -> None:
        self.problem, self.members, self.first, self.watch = problem, members, members[0], watch
        self.x, self.y = problem.train.out, problem.train.labels
        self.learner, self.links = params, connections(problem, members[0], [o.seed for o in members])
        self.streams = Streams([o.seed for o in members], 4, problem.device)
        self.sampled = Streams([o.seed for o in members], 7, problem.device)
        self.step = 0
        self.warm: dict[str, Tensor] = {}
        self.pairs: tuple[Tensor, Tensor, Tensor] | None = None

    def train(self) -> Trained:
        first = self.first
        warm = round(first.warmup_share * first.steps) if first.warmup else 0
        if warm:
            anchors = self._warmup_anchors()
            self._learn(anchors, warm, explore=False)
        for r in range(first.rounds):
            steps = (first.steps - warm) * (r + 1) // first.rounds - (first.steps - warm) * r // first.rounds
            if first.connection:
                self._link()
            anchors = self._emergent()
            if steps:
                self._learn(anchors, steps, explore=first.exploration)
        rows, labels, there = anchors
        params = self.learner | (self.links if first.connection else {})
        return Trained(params, rows, labels, there, self._right(anchors), self.warm)

    def _features(self) -> Tensor:
        with torch.no_grad():
            return encode(self.learner, self.x)

    def _warmup_anchors(self) -> tuple[Tensor, Tensor, Tensor]:
        """Eq 14: the h_k* of the perceptors' own features, applied directly, since no connection exists yet."""
        plain = replace(self.first, connection=False)
        (log_scores,) = in_modal_scores(self.problem, plain, self.learner, self._features())
        scores, found = log_scores.exp(), []
        for s in range(scores.shape[1]):
            agreed = int(disagreement(scores[:, s]).agree.sum())
            count = asked_count(self.first.anchors, len(self.y), agreed)
            # A share of rows of which none is agreed: this member has no warm-up. A literal T is refused.
            found.append(top_agreed(scores[:, s], count, self.first.balance) if count else _NOBODY)
        self.warm["agreed"] = torch.tensor([float(a.available) for a in found], device=self.y.device)
        rows, labels, there = (t.to(self.y.device) for t in _padded(found))
        self.warm["right"] = self._right((rows, labels, there))
        if self.first.control == "oracle":
            labels = self.y[rows]
        return rows, labels, there

    def _emergent(self) -> tuple[Tensor, Tensor, Tensor]:
        v, z = mapped(self.problem, self.first, self.learner | self.links), self._features()
        count = asked_count(self.first.anchors, len(self.y), len(self.y))
        found = [emergent(z[s], v[:, s], self.y, count, self.first.balance) for s in range(len(z))]
        rows, labels, there = (t.to(self.y.device) for t in _padded(found))
        partners = _filled([a.partners for a in found], rows.shape[1], rows.device)
        self.pairs = rows, partners, there
        return rows, labels, there

    def _link(self) -> None:
        """Connections: centroids class by class (warm-up), and the emergent pairs of the round before."""
        classes = len(self.problem.classes)
        z = self._features()
        with torch.no_grad():
            belongs = F.one_hot(posterior(self.learner, z).argmax(-1), classes).to(z)
        size = belongs.sum(1)
        centres = belongs.transpose(1, 2) @ z / size[..., None].clamp(min=1)
        own = F.one_hot(self.y, classes).to(z)
        inside = {m: own.T @ f / own.sum(0)[:, None] for m, f in self.problem.train.inside.items()}
        used = (size > 0).to(z)
        beta, weight = (free(self.members, name, z.device) for name in ("beta_vib", "connect_weight"))
        sampled = self.sampled
        pairs = self.pairs
        targets = None if pairs is None else z.gather(1, pairs[0][..., None].expand(-1, -1, z.shape[-1]))

        def losses(params: Params, step: int) -> Tensor:
            loss = z.new_zeros(len(self.members))
            for m, f in self.problem.train.inside.items():
                v, kl = connect(params, m, inside[m], sampled)
                loss = loss + weight * (((v - centres) ** 2).sum(-1) * used).sum(1) / used.sum(1).clamp(min=1)
                loss = loss + beta * kl.mean(1)
                if pairs is not None and targets is not None:
                    v, kl = connect(params, m, f[pairs[1]], sampled)
                    # A member with fewer anchors than another is padded: its mean is over those that exist.
                    apart, kl = (_mean_where(t, pairs[2]) for t in (((v - targets) ** 2).sum(-1), kl))
                    loss = loss + weight * apart + beta * kl
            return loss

        self.links = descend(self.links, losses, steps=CONNECT_STEPS, lr=5 * free(self.members, "lr"))

    def _learn(self, anchors: tuple[Tensor, Tensor, Tensor], steps: int, explore: bool) -> None:
        rows, labels, there = anchors
        explorer = Explorer(self.problem, self.members, rows, labels, there) if explore else None
        links = self.links if self.first.connection else {}

        def losses(params: Params, step: int) -> Tensor:
            self.watch(self.step + step, params | links)
            place = self.streams.chosen(there, self.first.batch)
            log_p = posterior(params, encode(params, self.x[rows.gather(1, place)]))
            loss = F.nll_loss(log_p.transpose(1, 2), labels.gather(1, place), reduction="none").mean(1) * there.any(1)
            return loss if explorer is None else loss + explorer(params | links, step)

        lr, decay = free(self.members, "lr"), free(self.members, "weight_decay")
        self.learner = descend(self.learner, losses, steps=steps, lr=lr, weight_decay=decay)
        self.step += steps

    def _right(self, anchors: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        rows, labels, there = anchors
        return ((self.y[rows] == labels) & there).sum(1) / there.sum(1)


def _padded(found: Sequence[Anchors]) -> tuple[Tensor, Tensor, Tensor]:
    """Rows, labels and which exist, (S, T) each, of members that may have fewer anchors than others."""
    most = max(1, *(len(a.rows) for a in found))
    where = next((a.rows.device for a in found if len(a.rows)), _NONE.device)
    rows, labels = (_filled(t, most, where) for t in ([a.rows for a in found], [a.labels for a in found]))
    there = torch.stack([torch.arange(most) < len(a.rows) for a in found])
    return rows, labels, there.to(where)


def _filled(found: Sequence[Tensor], most: int, where: torch.device) -> Tensor:
    """Numbers of each member, (S, most): members that have fewer are filled with zeros."""
    return torch.stack([F.pad(t.to(where), (0, most - len(t))) for t in found])


def _mean_where(values: Tensor, there: Tensor) -> Tensor:
    """Mean over the second axis of what exists, (S,); 0 for a member of which nothing does."""
    return (values * there).sum(1) / there.sum(1).clamp(min=1)
