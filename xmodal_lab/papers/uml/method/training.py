"""Training of shared heads, as many at once as share their shapes: rows, labels, weights and starts are data."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from ....data.unpaired import Unpaired, draw_shots
from ....losses import Params
from ....models.evaluation import device_of
from ....training.descent import descend
from ....utils.torch_state import pick_device, training
from .heads import Head, Layout, checked_heads, layout, note
from .nets import encoded, encoded_size, frozen, held, logits
from .schedules import batches, renamed, weights

LOOK_EVERY = 25  # steps between looks at the validation split, for choose="best" (ours)
CPU = torch.device("cpu")
AT_ONCE = 16  # heads in one stack at most: more leave the cache, several times slower (ours, measured)


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained head.

    Attributes:
        head: its settings.
        params: "head" (C, width), "project:m" (d_m, width), "scale:m" (), "encoder:m:…" of tuned encoders.
        accuracy, val_accuracy: of the target on test and validation split; NaN without one.
        loss: test cross-entropy in nats.
        note: which modality is projected, and what happened to classes that a modality lacks.
    """

    head: Head
    params: Params
    accuracy: float
    val_accuracy: float
    loss: float
    note: str
    encoders: Mapping[str, nn.Module]

    def embed(self, modality: str, x: Tensor) -> Tensor:
        """What the head sees of ``x`` (n, ...): (n, width)."""
        one = {name: p[None] for name, p in self.params.items()}
        with torch.no_grad():
            x = x.to(self.params["head"].device)
            z = encoded(one, modality, frozen(self.encoders, self.head, modality, x)[None], self.encoders)
            return (z @ one[f"project:{modality}"])[0] if f"project:{modality}" in one else z[0]

    def logits(self, modality: str, x: Tensor) -> Tensor:
        """Logits (n, C) of ``x`` (n, …), rows of ``modality``."""
        scale = self.params.get(f"scale:{modality}", torch.tensor(0.0)).exp() * self.head.logit_scale
        return self.embed(modality, x) @ self.params["head"].T * scale


@training()
def train_heads(
    data: Unpaired, heads: Head | Sequence[Head], encoders: Mapping[str, nn.Module] | None = None, report: Any = None,
    device: str = "auto",
) -> list[Trained]:  # fmt: skip
    """Train heads on unpaired embeddings; those of one shape together, each as if alone.

    Args:
        data: see :func:`~xmodal_lab.data.unpaired.unpaired`.
        heads: one, or many.
        encoders: modality -> module, where ``data`` holds inputs rather than embeddings. Frozen unless the head
            tunes them; BatchNorm cannot be stacked.
        report: ``report(share, message)``.
        device: where they train, as in :func:`~xmodal_lab.fit`; what comes back is on the CPU.

    Returns:
        One :class:`Trained` per head, in order.

    Raises:
        ValueError: more shots than a class has (says which); sizes that differ and are not projected; no validation
            split for ``choose="best"``; no test split of the target; init from text without text.
    """
    asked, where = checked_heads(data, heads), pick_device(device)
    modules = {m: _at(e, where) for m, e in (encoders or {}).items()}
    data = data.to(where)
    done: list[Trained | None] = [None] * len(asked)
    groups: dict[Any, list[int]] = {}
    for i, head in enumerate(asked):
        groups.setdefault(head.stack_key(), []).append(i)
    plans = {key: _Plan(data, [asked[i] for i in members], modules) for key, members in groups.items()}
    ready = 0
    for key, members in groups.items():
        for start in range(0, len(members), AT_ONCE):
            part = members[start : start + AT_ONCE]
            for i, trained in zip(part, plans[key].train([asked[i] for i in part], encoders or {}), strict=True):
                done[i] = trained
            ready += len(part)
            if report is not None:
                report(ready / len(asked), f"{ready} of {len(asked)} heads")
    return [t for t in done if t is not None]


class _Plan:
    """Heads of one stack key on one dataset: everything is checked as it is made."""

    def __init__(self, data: Unpaired, heads: Sequence[Head], encoders: Mapping[str, nn.Module]) -> None:
        self.data, first = data, heads[0]
        self.labels = {m: y.cpu() for m, (_, y) in data.train.items()}  # rows are drawn there for any device
        self.device = next(iter(data.train.values()))[0].device
        used = (first.target, *first.auxiliary)
        known = {m: data.train[m] for m in used if m in data.train}
        self.encoders = {m: e for m, e in encoders.items() if m in used}
        self.x = {m: frozen(self.encoders, first, m, x) for m, (x, _) in known.items()}
        sizes = {m: encoded_size(x, m, first, self.encoders) for m, x in self.x.items()}
        self.net: Layout = layout(data, first, sizes, self.encoders)
        if first.target not in data.test:
            raise ValueError(f"there is no test split of the target {first.target!r}; give test={{...}}.")
        if first.choose == "best" and first.target not in data.val:
            raise ValueError("choose='best' needs a validation split of the target; give val={...} or choose='last'.")
        for head in heads:
            self.rows(head)
        self.held = {}
        for name, split in (("test", data.test), ("val", data.val)):
            self.held[name] = held(split, first, self.encoders)
        self.note = note(data, first, self.net)

    def rows(self, head: Head) -> dict[str, Tensor]:
        """The k-shot sample of each modality."""
        drawn = {}
        for m in (head.target, *head.auxiliary):
            drawn[m] = draw_shots(self.labels[m], head.shots_of(m), head.seed, m, self.data.classes)
        return drawn

    def train(self, heads: Sequence[Head], encoders: Mapping[str, nn.Module]) -> list[Trained]:
        """``encoders`` are those of the user, which the trained heads remember."""
        first, members, where = heads[0], len(heads), self.device
        rows = [self.rows(h) for h in heads]
        params = self._start(heads, rows)
        drawn = {m: batches([r[m] for r in rows], heads, m).to(where) for m in rows[0]}
        names = torch.stack([renamed(h, len(self.data.classes)) for h in heads]).to(where)
        lam = torch.tensor([h.lam for h in heads])
        taken = {m: weights(heads, m) * lam[:, None, None] for m in first.auxiliary}
        any_taken = {m: t.any(0) for m, t in taken.items()}  # (steps, turns), on the CPU
        taken = {m: t.to(where) for m, t in taken.items()}
        scales = torch.tensor([h.logit_scale for h in heads], device=where)
        last = torch.arange(members, device=where)[:, None]

        def loss_of(p: Params, m: str, at: Tensor, labels: Tensor) -> Tensor:
            outputs = logits(p, m, self.x[m][at], scales, self.encoders)
            return cross_entropy(outputs.transpose(1, 2), labels, reduction="none").mean(1)

        def losses(p: Params, step: int) -> Tensor:
            at = drawn[first.target][:, step, 0]
            total = loss_of(p, first.target, at, self.data.train[first.target][1][at])
            for m in first.auxiliary:
                for turn in range(taken[m].shape[2]):
                    if bool(any_taken[m][step, turn]):
                        weight = taken[m][:, step, turn]
                        at = drawn[m][:, step, turn]
                        total = total + weight * loss_of(p, m, at, names[last, self.data.train[m][1][at]])
            return total

        best = _Best(self, heads, scales) if first.choose == "best" else None
        trained = descend(
            params, losses, steps=first.steps, lr=torch.tensor([h.lr for h in heads]), optimizer=first.optimizer,
            momentum=first.momentum, weight_decay=torch.tensor([h.weight_decay for h in heads]),
            schedule=first.schedule, warmup=min(first.warmup, first.steps - 1), on_step=best,
        )  # fmt: skip
        if best is not None:
            trained = best.params
        scores = {n: [t.cpu() for t in self.score(trained, n, scales)] for n in ("test", "val")}
        trained, mine = {n: p.cpu() for n, p in trained.items()}, {m: _at(encoders[m], CPU) for m in self.encoders}
        return [
            Trained(
                h, {n: p[k].clone() for n, p in trained.items()}, float(scores["test"][0][k]),
                float(scores["val"][0][k]), float(scores["test"][1][k]), self.note, mine,
            )
            for k, h in enumerate(heads)
        ]  # fmt: skip

    def _start(self, heads: Sequence[Head], rows: Sequence[Mapping[str, Tensor]]) -> Params:
        classes, net, first = len(self.data.classes), self.net, heads[0]
        each: dict[str, list[Tensor]] = {}
        for head, mine in zip(heads, rows, strict=True):
            draw = torch.Generator().manual_seed(head.seed + 7919)
            w = torch.randn(classes, net.width, generator=draw) * head.head_scale / math.sqrt(net.width)
            if head.from_text:
                means, there = self._means(head, mine)
                w = torch.where(there[:, None], means, w)
            each.setdefault("head", []).append(w)
            for m in net.projected:
                d = net.sizes[m]
                drawn = torch.randn(d, net.width, generator=draw)
                size = head.projection_scale if m == first.target else 1.0
                each.setdefault(f"project:{m}", []).append(drawn * size / math.sqrt(d))
            if head.learn_scale:
                for m in net.sizes:
                    each.setdefault(f"scale:{m}", []).append(torch.zeros(()))
            for m, module in net.encoders.items():
                for name, p in module.named_parameters():
                    each.setdefault(f"encoder:{m}:{name}", []).append(p.detach())
        return {name: torch.stack([p.to(self.device) for p in some]) for name, some in each.items()}

    def _means(self, head: Head, mine: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Unit mean embedding of each class in the first auxiliary, and which classes it has."""
        m = head.auxiliary[0]
        if self.net.sizes[m] != self.net.width:
            raise ValueError(
                f"init from {m!r} needs a head of its size {self.net.sizes[m]}, this one has width {self.net.width}."
            )
        x = self.x[m]
        if m in self.net.encoders:
            with torch.no_grad():
                x = self.encoders[m](x)
        labels = renamed(head, len(self.data.classes))[self.labels[m][mine[m]]]
        rows = x[mine[m].to(x.device)].float().cpu()
        sums = torch.zeros(len(self.data.classes), x.shape[1]).index_add(0, labels, rows)
        there = torch.bincount(labels, minlength=len(sums)) > 0
        return normalize(sums, dim=1), there

    def score(self, params: Params, split: str, scales: Tensor) -> tuple[Tensor, Tensor]:
        """Accuracy and cross-entropy (K,) of the target on a split; NaN where there is none."""
        members, there = len(scales), self.held[split]
        if there is None:
            return torch.full((members,), math.nan), torch.full((members,), math.nan)
        (x, y), m = there, next(iter(self.net.sizes))
        accuracy, loss = [], []
        with torch.no_grad():
            for k in range(members):  # one by one: logits of all would not fit the cache
                one = {n: p[k : k + 1] for n, p in params.items()}
                outputs = logits(one, m, x[None], scales[k : k + 1], self.encoders)[0]
                accuracy.append((outputs.argmax(1) == y).float().mean())
                loss.append(cross_entropy(outputs, y))
        return torch.stack(accuracy), torch.stack(loss)


def _at(module: nn.Module, device: torch.device) -> nn.Module:
    """The module on ``device``: itself where it is there, else a copy."""
    return module if device_of(module, device) == device else copy.deepcopy(module).to(device)


class _Best:
    """Keeps each member's parameters at the step with the best validation accuracy (ties: the lower loss)."""

    def __init__(self, plan: _Plan, heads: Sequence[Head], scales: Tensor) -> None:
        self.plan, self.steps, self.scales = plan, heads[0].steps, scales
        self.best = torch.full((len(heads),), -math.inf, device=plan.device)
        self.params: Params = {}

    def __call__(self, step: int, losses: Tensor, params: Params) -> None:
        if (step + 1) % LOOK_EVERY and step + 1 != self.steps:
            return
        accuracy, loss = self.plan.score(params, "val", self.scales)
        value = accuracy - 1e-3 * loss.clamp(max=50)
        better = (value > self.best) | (self.best == -math.inf)
        self.best = torch.where(better, value, self.best)
        now = {n: p.detach().clone() for n, p in params.items()}
        old = self.params or now
        self.params = {n: torch.where(better.view(-1, *[1] * (p.dim() - 1)), p, old[n]) for n, p in now.items()}
