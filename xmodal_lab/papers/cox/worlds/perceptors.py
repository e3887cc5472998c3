"""In-modal perceptors: frozen encoders of the modalities that are known (cox Sec 3.1, 4.1).

``supervised``: each trained on its own labels. ``bound``: trained together and without labels, so that
instances meet across modalities, as ImageBind's are. ``random``: untrained. ``given``: the views are features
already (of CLIP, ImageBind, … through a feature cache).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ....data.samples import Samples
from ....models.encoders import encoder
from ....training.loop import train
from ....utils import checks as check
from ....utils.torch_state import seeded, training

PERCEPTORS = ("supervised", "bound", "random", "given")
STEPS = 400  # (ours)
TEMPERATURE = 0.07  # of CLIP and ImageBind
Features = dict[str, tuple[Tensor, ...]]


@training()
def perceive(
    splits: Sequence[Samples],
    kinds: Mapping[str, str],
    names: Sequence[str],
    perceptor: str = "supervised",
    *,
    classes: int,
    only: str | None = None,
    steps: int = STEPS,
    width: int = 64,
    seed: int = 0,
    memory: dict[Any, Any] | None = None,
) -> Features:
    """Frozen features of ``names``, trained on the first split; standardised by it.

    Args:
        splits: the training split, then those to encode as well.
        kinds: modality -> kind, as in ``Dataset.kinds``.
        names: which modalities; ``bound`` binds exactly these.
        perceptor: see above.
        classes: number of classes.
        only: return this one alone.
        steps: of training, batches of 64 (ours).
        width: of the features; "given" keeps its own.
        seed: of weights and batches.
        memory: keeps what was trained; give the same dict for the same splits only.

    Returns:
        modality -> features (n, d) of each split.

    Raises:
        ValueError: an unknown perceptor, steps below 0.
    """
    check.one_of("perceptor", perceptor, PERCEPTORS)
    steps, width = check.integer("perceptor steps", steps, at_least=0), check.integer("width", width, at_least=1)
    classes, seed = check.integer("classes", classes, at_least=1), check.integer("seed", seed, at_least=0)
    names = [check.instance("a modality in names", m, str) for m in check.listed("names", names)]
    splits = check.listed("splits", splits)
    for s in splits:
        check.instance("a split", s, Samples)
        check.modalities_of(names, s.modalities)
    if not splits:
        raise ValueError("there is no split to perceive; give [train] or [train, test].")
    for m in names:
        check.one_of("modality in kinds", m, check.mapping("kinds", kinds, "kinds of modality"))
    wanted = (only,) if only else tuple(names)
    if perceptor == "given":
        return {m: _standard([s.inputs[m].flatten(1) for s in splits]) for m in wanted}
    kept: dict[Any, Any] = {} if memory is None else memory
    asked = (perceptor, steps, width, seed)
    if perceptor == "bound":
        key = (*asked, tuple(names))
        if key not in kept:
            bound = {m: _net(kinds[m], splits[0].inputs[m].shape[1:], width, seed, m) for m in names}
            _bind(list(bound.values()), [splits[0].inputs[m] for m in names], steps, seed)
            kept[key] = {m: _encoded(net, splits, m) for m, net in bound.items()}
        return {m: kept[key][m] for m in wanted}
    for m in wanted:
        if (*asked, m) not in kept:
            net = _net(kinds[m], splits[0].inputs[m].shape[1:], width, seed, m)
            if perceptor == "supervised":
                _supervise(net, splits[0].inputs[m], splits[0].labels, classes, steps, seed)
            kept[(*asked, m)] = _encoded(net, splits, m)
    return {m: kept[(*asked, m)] for m in wanted}


@torch.no_grad()
def _encoded(net: nn.Module, splits: Sequence[Samples], name: str) -> tuple[Tensor, ...]:
    found = [torch.cat([net(x.double()) for x in s.inputs[name].split(512)]) for s in splits]
    return tuple(z.float() for z in _standard(found))


def _net(kind: str, shape: Sequence[int], width: int, seed: int, name: str) -> nn.Module:
    with seeded(1000 * seed + sum(map(ord, name))):
        # The rooms' encoders end in a ReLU; features to be matched by distance want both signs.
        net = nn.Sequential(encoder(kind, shape, 2 * width), nn.Linear(2 * width, width))
    # Adam divides small gradients by their own size: in 30 steps of float32 rounding became 1 % of a feature, another
    # on each processor, and D with it. In float64, which costs as much at this size, it stays below float32's rounding.
    return net.double()


def _trained(nets: Sequence[nn.Module], n: int, loss_of: Callable[[Tensor], Tensor], steps: int, seed: int) -> None:
    """Adam on batches of 64 out of ``n`` rows."""
    generator = torch.Generator().manual_seed(seed)

    def loss_at(step: int) -> Tensor:
        return loss_of(torch.randint(0, n, (min(64, n),), generator=generator))

    params = [p for net in nets for p in net.parameters()]
    train(torch.optim.Adam(params, 1e-3, weight_decay=1e-4), loss_at, steps)


def _supervise(net: nn.Module, x: Tensor, labels: Tensor, classes: int, steps: int, seed: int) -> None:
    with seeded(seed):
        head = nn.Linear(net[-1].out_features, classes).double()  # type: ignore[index,union-attr,arg-type]
    _trained((net, head), len(x), lambda rows: F.cross_entropy(head(net(x[rows].double())), labels[rows]), steps, seed)


def _bind(nets: Sequence[nn.Module], views: Sequence[Tensor], steps: int, seed: int) -> None:
    """Symmetric InfoNCE between every two modalities of the same instances; no label is used."""

    def contrast(rows: Tensor) -> Tensor:
        seen = [F.normalize(net(x[rows].double()), dim=1) for net, x in zip(nets, views, strict=True)]
        own = torch.arange(len(rows))
        # A row drawn twice in a batch is no wrong partner of itself.
        twin = (rows[:, None] == rows[None]) & ~torch.eye(len(rows), dtype=torch.bool)
        loss = torch.zeros(())
        for a, b in combinations(seen, 2):
            close = (a @ b.T / TEMPERATURE).masked_fill(twin, -1e4)
            loss = loss + F.cross_entropy(close, own) + F.cross_entropy(close.T, own)
        return loss

    _trained(nets, len(views[0]), contrast, steps, seed)


def _standard(parts: Sequence[Tensor]) -> tuple[Tensor, ...]:
    mean, spread = parts[0].mean(0), parts[0].std(0)
    return tuple((z - mean) / (spread + 1e-3 * spread.max().clamp(min=1e-12)) for z in parts)
