"""The stacked nets: out-of-modal learner, head, connections; and the optimal classifiers h_k*.

S members train at once: a parameter is (S, …), and member s draws from a stream of its own, so that it
trains as if alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ....instruments.metrics import mmd
from ....losses import Params
from ....models.stacked import affine
from ....training.descent import descend
from ....utils.random import Streams
from ..worlds.problem import Problem
from .options import Options

# Width of v, and steps, learning rate and batch of a linear h_k* (ours).
BOTTLENECK = 32
HEAD_STEPS, HEAD_LR, HEAD_BATCH = 60, 2e-2, 256


def layer(streams: Streams, name: str, size: int, to: int) -> Params:
    """A linear layer: uniform weights in ±1/√size, bias 0."""
    weight = streams.uniform((size, to)) / size**0.5
    return {f"{name}.weight": weight, f"{name}.bias": weight.new_zeros(len(weight), 1, to)}


def start(problem: Problem, options: Options, seeds: Sequence[int]) -> Params:
    """Learner and head of each seed, the same for every method."""
    streams = Streams(seeds, 1, problem.device)
    p = problem.train.out.shape[1] if options.algorithm != "aligned" else _aligned(problem).shape[1]
    sizes = {"learner.1": (p, options.hidden), "learner.2": (options.hidden, options.width)}
    sizes["head"] = (options.width, len(problem.classes))
    return {key: value for name, size in sizes.items() for key, value in layer(streams, name, *size).items()}


def connections(problem: Problem, options: Options, seeds: Sequence[int]) -> Params:
    """One connection per in-modal modality: p(v|x_I) to mean (and log-variance, with a KL term), q(x_O|v)."""
    streams = Streams(seeds, 2, problem.device)
    made: Params = {}
    for m, z in problem.train.inside.items():
        made |= layer(streams, f"connect.{m}.mean", z.shape[1], BOTTLENECK)
        made |= layer(streams, f"connect.{m}.out", BOTTLENECK, options.width)
        if options.beta_vib > 0:
            made |= layer(streams, f"connect.{m}.spread", z.shape[1], BOTTLENECK)
    return made


def encode(params: Mapping[str, Tensor], x: Tensor) -> Tensor:
    """z_O = g_O(x_O), layer-normalised, (S, n, width)."""
    z = affine(params, "learner.2", torch.relu(affine(params, "learner.1", x)))
    return F.layer_norm(z, z.shape[-1:])


def posterior(params: Mapping[str, Tensor], z: Tensor) -> Tensor:
    """The head: log h_O(y|x_O), (S, n, C)."""
    return F.log_softmax(affine(params, "head", z), -1)


def connect(
    params: Mapping[str, Tensor], name: str, z: Tensor, streams: Streams | None = None
) -> tuple[Tensor, Tensor]:
    """q(x_O|v) of v ~ p(v|x_I), in the learner's feature space, and KL(p(v|x_I) ‖ N(0, 1)) per row.

    Args:
        params: of the connections.
        name: in-modal name.
        z: (n, d) or (S, n, d) perceptor features.
        streams: draws v; its mean when None.

    Returns:
        (S, n, width), layer-normalised like z_O, and (S, n).

    Source: cox Eq 8, 9; Alemi et al. 2016.
    """
    v = mean = affine(params, f"connect.{name}.mean", z)
    kl = mean.new_zeros(mean.shape[:-1])
    if f"connect.{name}.spread.weight" in params:
        log_variance = affine(params, f"connect.{name}.spread", z)
        kl = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(-1)
        if streams is not None:
            v = mean + (0.5 * log_variance).exp() * streams.normal(mean.shape[1:])
    out = affine(params, f"connect.{name}.out", torch.relu(v))
    return F.layer_norm(out, out.shape[-1:]), kl


def mapped(problem: Problem, options: Options, params: Params, split: str = "train") -> Tensor:
    """All in-modal rows in the learner's feature space, (K, S, N, width).

    Without connections: the perceptors' own features, as Tab 4's "w/o connection" applies them; where their
    width is another, under a fixed random rotation into this one.
    """
    inside = getattr(problem, split).inside
    members = len(next(iter(params.values())))
    if options.connection:
        with torch.no_grad():
            return torch.stack([connect(params, m, z)[0] for m, z in inside.items()])
    fitted = []
    for k, z in enumerate(inside.values()):
        if z.shape[1] != options.width:
            turn = torch.randn(z.shape[1], options.width, generator=torch.Generator().manual_seed(k)).to(z.device)
            z = z @ turn / z.shape[1] ** 0.5
        fitted.append(F.layer_norm(z, z.shape[-1:]).expand(members, -1, -1))
    return torch.stack(fitted)


def optimal_classifiers(features: Tensor, labels: Tensor, classes: int, seed: int = 0) -> Params:
    """h_k*: a linear layer on each set of features (Sec 4.1), (Q, N, d) → parameters of Q classifiers."""
    streams = Streams([seed] * len(features), 3, features.device)
    first = {k: torch.zeros_like(v) for k, v in layer(streams, "h", features.shape[2], classes).items()}
    rows = torch.stack([
        torch.randint(0, len(labels), (HEAD_BATCH,), generator=torch.Generator().manual_seed(seed + i))
        for i in range(HEAD_STEPS)
    ]).to(features.device)  # fmt: skip

    def losses(params: Params, step: int) -> Tensor:
        scores = affine(params, "h", features[:, rows[step]])
        want = labels[rows[step]].expand(len(features), -1)
        return F.cross_entropy(scores.transpose(1, 2), want, reduction="none").mean(1)

    return descend(first, losses, steps=HEAD_STEPS, lr=HEAD_LR, weight_decay=1e-4)


def in_modal_scores(problem: Problem, options: Options, params: Params, *points: Tensor) -> tuple[Tensor, ...]:
    """Of each h_k*: log h_k*(y|x_O) on out-of-modal features: each (S, n, width) → (K, S, n, C)."""
    v = mapped(problem, options, params)
    heads = optimal_classifiers(v.flatten(0, 1), problem.train.labels, len(problem.classes))
    return tuple(
        F.log_softmax(affine(heads, "h", z.expand(v.shape[:2] + z.shape[1:]).flatten(0, 1)), -1).unflatten(
            0, v.shape[:2]
        )
        for z in points
    )


def gap(problem: Problem, options: Options, params: Params, points: Tensor, rows: int = 150) -> Tensor:
    """MMD² between each in-modal mapping and out-of-modal features (Fig 5): (S, K), on the first ``rows`` rows."""
    v = mapped(problem, options, params, "test")[:, :, :rows]
    return torch.stack([
        torch.stack([mmd(vk[s], points[s, :rows]).value for vk in v]) for s in range(v.shape[1])
    ])  # fmt: skip


def _aligned(problem: Problem) -> Tensor:
    if problem.train.aligned is None:
        raise ValueError(
            "algorithm 'aligned' needs features of a perceptor of the modality that is out; give the problem some."
        )
    return problem.train.aligned
