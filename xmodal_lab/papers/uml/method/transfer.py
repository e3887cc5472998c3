"""Language weights as the start of a vision transformer (Sec 4.3, App B.4.4).

Patches are embedded linearly, a class token is put in front and places are added; then come the transformer's layers,
from a language model or with fresh weights of the same shape, with attention in both directions; then a 2-layer MLP.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ....data.samples import Dataset
from ....training.language import pretrained
from ....training.loop import train
from ....utils import checks as check
from ....utils.torch_state import seeded
from .sequence import as_sequence

STARTS = ("language", "scratch", "shuffled")
MODES = ("frozen", "two_stage", "unfrozen")


@dataclass(frozen=True)
class Transfer:
    """Settings of one vision transformer.

    Attributes:
        start: "language": the language model's weights; "scratch": fresh ones of the same shape; "shuffled": the
            language model's with the entries of each tensor in random order, the control that keeps their sizes.
        mode: "frozen": only patches, places and head are trained; "two_stage": frozen at first, then all;
            "unfrozen": all from the beginning.
        first_stage: steps of the frozen stage (paper: 2000).
        patch, steps, batch_size, lr: (ours; the paper's pictures have 196 patches of 16 x 16).
        thaw: share of lr at which the transformer learns in mode "two_stage" once it is thawed (ours).
        per_class: training pictures of each class; None for all.
        seed: of fresh weights and batches.
    """

    start: str = "language"
    mode: str = "frozen"
    first_stage: int = 100
    patch: int = 2
    steps: int = 300
    batch_size: int = 32
    lr: float = 2e-3
    thaw: float = 0.1
    per_class: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check.one_of("start", self.start, STARTS)
        check.one_of("mode", self.mode, MODES)
        for name in ("patch", "steps", "batch_size"):
            check.integer(name, getattr(self, name), at_least=1)
        check.integer("first_stage", self.first_stage, at_least=0)
        for name in ("lr", "thaw"):
            check.positive(name, getattr(self, name))


class VisionTransformer(nn.Module):
    """Patches through a language model's transformer.

    Args:
        body: a ``transformers`` BERT or GPT-2; its word embeddings and, for BERT, its pooler are not used.
        size: numbers per patch; ``patches``: how many; ``classes``.
    """

    def __init__(self, body: nn.Module, size: int, patches: int, classes: int) -> None:
        super().__init__()
        config: Any = body.config
        d = config.hidden_size
        self.embed = nn.Linear(size, d)
        self.token = nn.Parameter(0.02 * torch.randn(1, 1, d))
        self.places = nn.Parameter(0.02 * torch.randn(1, patches + 1, d))
        self.dropout = nn.Dropout(0.1)  # App B.4.4
        parts: Any = body
        self.kind = config.model_type
        self.layers = parts.encoder.layer if self.kind == "bert" else parts.h
        self.last = nn.Identity() if self.kind == "bert" else parts.ln_f
        self.head = nn.Sequential(nn.Linear(d, d), nn.ReLU(), nn.Linear(d, classes))

    @property
    def body(self) -> list[nn.Parameter]:
        """What came from the language model."""
        return [*self.layers.parameters(), *self.last.parameters()]

    def forward(self, patches: Tensor) -> Tensor:
        """(n, P, size) → logits (n, C)."""
        z = torch.cat([self.token.expand(len(patches), -1, -1), self.embed(patches)], 1)
        z = self.dropout(z + self.places[:, : z.shape[1]])
        everything = torch.zeros(1, 1, z.shape[1], z.shape[1], dtype=z.dtype, device=z.device)
        for layer in self.layers:  # a mask of zeros: GPT-2 looks both ways too, as the paper's does
            out = layer(z, attention_mask=everything)
            z = out[0] if isinstance(out, tuple) else out
        found: Tensor = self.head(self.last(z)[:, 0])
        return found


@dataclass(frozen=True, eq=False)
class Transferred:
    """The net, its accuracies, and (step, test accuracy) along the way."""

    net: VisionTransformer
    accuracy: float
    val_accuracy: float
    curve: Sequence[tuple[int, float]]


def transfer(
    dataset: Dataset, s: Transfer, model: Any = "", modality: str = "image", look_every: int = 50
) -> Transferred:
    """Train a vision transformer from language weights, or from scratch.

    Args:
        dataset: any with pictures (C, H, W).
        s: settings.
        model: name or folder of a BERT or GPT-2, or the ``transformers`` model itself; the small model trained here
            on this project's sentences by default.
        modality: which input.
        look_every: steps between points of the curve.

    Raises:
        ValueError: no pictures, a patch that does not divide them, no language model at that place.
    """
    check.one_of("modality", modality, dataset.modalities)
    source = pretrained(model) if isinstance(model, str) else model
    # Of unknown class (-1) there is no loss, and no answer that would be right.
    here = {k: v.present[modality] & (v.labels >= 0) for k, v in dataset.splits.items()}
    x = {k: as_sequence(v.inputs[modality][here[k]], s.patch) for k, v in dataset.splits.items()}
    y = {k: v.labels[here[k]] for k, v in dataset.splits.items()}
    draw = torch.Generator().manual_seed(s.seed)
    if s.per_class is not None:
        from ....data.unpaired import draw_shots

        rows = draw_shots(y["train"], s.per_class, s.seed, modality, dataset.classes)
        x["train"], y["train"] = x["train"][rows], y["train"][rows]
    with seeded(s.seed):
        body = type(source)(source.config) if s.start == "scratch" else copy.deepcopy(source)
        if s.start == "shuffled":
            with torch.no_grad():
                for p in body.parameters():
                    p.copy_(p.flatten()[torch.randperm(p.numel())].view_as(p))
        net = VisionTransformer(body, x["train"].shape[2], x["train"].shape[1], len(dataset.classes))
        mine = [p for p in net.parameters() if all(p is not b for b in net.body)]
        share = 1.0 if s.mode == "unfrozen" else s.thaw
        groups = [{"params": mine, "lr": s.lr}, {"params": net.body, "lr": s.lr * share}]
        curve: list[tuple[int, float]] = []

        def loss_at(step: int) -> Tensor:
            thawed = s.mode == "unfrozen" or (s.mode == "two_stage" and step >= s.first_stage)
            for p in net.body:
                p.requires_grad_(thawed)
            net.train()
            rows = torch.randint(len(y["train"]), (min(s.batch_size, len(y["train"])),), generator=draw)
            return cross_entropy(net(x["train"][rows]), y["train"][rows])

        def look(step: int) -> None:
            if (step + 1) % look_every == 0 or step + 1 == s.steps:
                curve.append((step + 1, _accuracy(net, x["test"], y["test"])))

        train(torch.optim.AdamW(groups, weight_decay=0.01), loss_at, s.steps, after=look)
    val = _accuracy(net, x["val"], y["val"]) if "val" in x else float("nan")
    return Transferred(net, curve[-1][1], val, tuple(curve))


def _accuracy(net: VisionTransformer, x: Tensor, y: Tensor) -> float:
    net.eval()
    with torch.no_grad():
        return float((torch.cat([net(part) for part in x.split(256)]).argmax(1) == y).float().mean())
