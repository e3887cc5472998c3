"""Planes within a tolerance, judged where they are known whole: ``python -m benchmarks.tolerance [--keep FILE]``.

Five kinds of net (MLP, CNN, a tower of tokens, BERT and ViT from a small configuration), each trained from some seeds;
of each five pairs of directions (three drawn, filter-normalised; the first four eigenvectors of the Hessian, two by
two) at spans of 0.5 and 1. Every one of 41 x 41 points is computed, and every other one is the plane of 21 x 21. On
these known planes the rule of ``xmodal_lab/instruments/landscape/adaptive.py`` is run: which share of the points would
it have computed, in how many batches, and how far would the others have been off? Constants of the rule were chosen on
the nets of some seeds; what is claimed is read off those of others. ``--caution 3 4 5 6`` shows what more or less of
it would cost.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import xmodal_lab as xl
from xmodal_lab.instruments.landscape.adaptive import CAUTION, Filled, adaptive

from . import models

POINTS, SPANS = 41, (0.5, 1.0)
SEEDS = {"chosen on": (0, 1, 2, 100, 101), "judged on": (102, 103)}
ROWS = 16
Values = NDArray[np.float64]


class Tokens(nn.Module):
    """A small BERT or ViT of ``transformers``, its logits only."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (N, 4)."""
        logits: Tensor = self.model(inputs).logits
        return logits


def bert() -> nn.Module:
    """Two layers of width 32 on sentences of 12 words."""
    from transformers import BertConfig, BertForSequenceClassification

    sizes = {"vocab_size": 41, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = BertConfig(**sizes, intermediate_size=64, max_position_embeddings=16, num_labels=4)
    return Tokens(BertForSequenceClassification(config))


def vit() -> nn.Module:
    """Two layers of width 32 on pictures of 16 x 16 in sixteen patches."""
    from transformers import ViTConfig, ViTForImageClassification

    sizes = {"image_size": 16, "patch_size": 4, "num_channels": 1, "hidden_size": 32, "num_hidden_layers": 2}
    config = ViTConfig(**sizes, num_attention_heads=2, intermediate_size=64, num_labels=4)
    return Tokens(ViTForImageClassification(config))


def words(seed: int, rows: int) -> tuple[Tensor, ...]:
    """Sentences in which the words of one class stand more often; never word 0, which BERT takes for padding."""
    g = torch.Generator().manual_seed(seed)
    labels = torch.arange(rows) % 4
    mine = torch.rand(rows, 12, generator=g) < 0.4
    own = 10 * labels[:, None] + torch.randint(1, 11, (rows, 12), generator=g)
    return torch.where(mine, own, torch.randint(1, 41, (rows, 12), generator=g)), labels


def pictures(seed: int, rows: int) -> tuple[Tensor, ...]:
    """A bright quarter says the class."""
    g = torch.Generator().manual_seed(seed)
    labels = torch.arange(rows) % 4
    x = torch.randn(rows, 1, 16, 16, generator=g)
    for row, label in enumerate(labels.tolist()):
        x[row, :, 8 * (label // 2) : 8 * (label // 2) + 8, 8 * (label % 2) : 8 * (label % 2) + 8] += 0.7
    return x, labels


def trained(kind: str, seed: int) -> xl.Loss:
    """The loss of a net of this kind on ``ROWS`` rows that it was not trained on (the MLP: on eight times as many)."""
    torch.manual_seed(seed)
    if kind in ("tower", "CNN"):
        ds = xl.load("shapes", modalities=("image", "audio"), n_train=120, n_test=ROWS, seed=seed)
        if kind == "tower":
            net: nn.Module = xl.one_tower.OneTower.for_dataset(ds, width=8, layers=1, patch=16, frames=16, seed=seed)
        else:
            net = xl.LateFusion.for_dataset(ds, architecture="cnn", width=8, seed=seed)
        return xl.loss_on(xl.fit(net, ds, epochs=4, seed=seed, progress=False).model, ds.test)
    if kind == "MLP":
        module: nn.Module = models.train(models.TwoBranchMLP(), 150, seed)
        return xl.Loss.from_module(module, models.batch(module, 8 * ROWS, seed + 10))
    make, draw = {"BERT": (bert, words), "ViT": (vit, pictures)}[kind]
    module = make()
    optimizer, (inputs, labels) = torch.optim.Adam(module.parameters(), lr=2e-3), draw(seed, 128)
    for rows in torch.randint(0, len(labels), (60, 32)):
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(inputs[rows]), labels[rows]).backward()
        optimizer.step()
    return xl.Loss.from_module(module.eval(), draw(seed + 10, ROWS))


def planes(kind: str, seed: int, had: Collection[str]) -> Iterator[tuple[str, Values]]:
    """Ten whole planes of one net, each with its name, but for those that are ``had``."""
    names = ["drawn 0", "drawn 1", "drawn 2", "Hessian 1 and 2", "Hessian 3 and 4"]
    missing = [(n, s) for n in names for s in SPANS if f"{kind}, seed {seed}, {n}, span {s}" not in had]
    if not missing:
        return
    loss = trained(kind, seed)
    sharpest = xl.landscape.eigenvectors(loss, 4)
    pairs: dict[str, dict[str, Any]] = {f"drawn {i}": {"seed": 3 * seed + i} for i in range(3)}
    pairs |= {"Hessian 1 and 2": {"directions": sharpest[:2]}, "Hessian 3 and 4": {"directions": sharpest[2:]}}
    for name, span in missing:
        yield f"{kind}, seed {seed}, {name}, span {span}", xl.landscape.plane(loss, POINTS, span, **pairs[name]).values


def known(values: Values, tolerance: float) -> tuple[Filled, int, float]:
    """What the rule makes of a known plane, in how many batches, and its largest error as a share of the range."""
    batches: list[int] = []

    def evaluate(at: NDArray[np.int64]) -> Values:
        batches.append(len(at))
        return values[at[:, 0], at[:, 1]]

    found = adaptive(evaluate, len(values), tolerance)
    return found, len(batches), float(np.abs(found.values - values).max() / np.ptp(values))


def table(every: dict[str, Values], tolerances: Sequence[float], caution: float = CAUTION) -> list[str]:
    """One line of Markdown for each kind of net and all of them, size and tolerance."""
    lines = []
    kinds = sorted({name.split(",")[0] for name in every})
    for points, tolerance in itertools.product((41, 21), tolerances):
        with patch("xmodal_lab.instruments.landscape.adaptive.CAUTION", caution):
            step = 40 // (points - 1)
            found = {name: known(values[::step, ::step], tolerance) for name, values in every.items()}
        for kind in (*kinds, "all"):
            mine = [one for name, one in found.items() if kind in ("all", name.split(",")[0])]
            shares = np.array([one.computed / points**2 for one, _, _ in mine])
            off = np.array([error for _, _, error in mine]) / tolerance
            batches = np.mean([count for _, count, _ in mine])
            lines.append(
                f"| {kind} | {len(mine)} | {points}x{points} | {tolerance:g} | {caution:g} | {shares.mean():.1%} "
                f"| {np.median(shares):.1%} | {shares.max():.0%} | {int((off > 1).sum())} | {off.max():.2f} "
                f"| {batches:.0f} |"
            )
    return lines


HEAD = [
    "| net | planes | points | tolerance | caution | points computed: mean | median | most | beyond the tolerance "
    "| largest error / tolerance | batches |",
    "|---|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|",
]


def main(trace: Callable[[str], None] = print) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tolerance", description=__doc__)
    parser.add_argument(
        "--keep", type=Path, help="a file (.npz) where whole planes are kept, and read from if it is there"
    )
    parser.add_argument("--kinds", nargs="+", default=("MLP", "CNN", "tower", "BERT", "ViT"))
    parser.add_argument("--nets", choices=SEEDS, default="judged on", help="whose seeds the constants were chosen on")
    parser.add_argument("--tolerances", nargs="+", type=float, default=(1e-2,))
    parser.add_argument("--caution", nargs="+", type=float, default=(CAUTION,))
    asked = parser.parse_args()
    torch.set_num_threads(1)
    every: dict[str, Values] = dict(np.load(asked.keep)) if asked.keep and asked.keep.is_file() else {}
    for kind, seed in itertools.product(asked.kinds, SEEDS[asked.nets]):
        for name, values in planes(kind, seed, every.keys()):
            every[name] = values
            if asked.keep:
                np.savez(asked.keep, **every)  # type: ignore[arg-type]
    mine = {n: v for n, v in every.items() if any(f"seed {seed}," in n for seed in SEEDS[asked.nets])}
    for line in (*HEAD, *(line for caution in asked.caution for line in table(mine, asked.tolerances, caution))):
        trace(line)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
