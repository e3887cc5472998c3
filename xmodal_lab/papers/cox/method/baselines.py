"""What the baselines learn from unlabelled rows: EntMin, SSL by Gaussian perturbation, MoCo (cox Sec 4.1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ....losses import Params
from ....utils.random import Streams
from ..worlds.problem import Problem
from .nets import encode, posterior
from .options import Options

Term = Callable[[Mapping[str, Tensor], int], Tensor]
# MoCo (He et al. 2020; temperature of version 2); the queue and the momentum are those of a short run (ours).
MOMENTUM, QUEUE, TEMPERATURE = 0.99, 512, 0.2
# Without labels a consistency loss alone is pleased by one answer for all: entropy down, use of classes up (ours).
SHARPEN, BALANCE = 0.1, 0.5
# EntMin's weight rises over this share of the steps, lest it sharpen what is not yet learned (ours).
RAMP = 0.3


def free(members: Sequence[Options], name: str, device: torch.device | None = None) -> Tensor:
    """(S,) values of an option that may differ between members."""
    return torch.tensor([float(getattr(o, name)) for o in members], device=device)


def unlabelled_term(problem: Problem, members: Sequence[Options]) -> Term:
    """The method's loss on batches of unlabelled rows: (params, step) → (S,); zero for ERM."""
    first, x = members[0], problem.train.out
    streams = Streams([o.seed for o in members], 5, x.device)
    entropy_weight, noise = (free(members, name, x.device) for name in ("entropy_weight", "noise"))
    contrast = _moco(problem, members) if first.algorithm == "moco" else None

    def batch() -> Tensor:
        return x[streams.integers(len(x), (first.batch,))]

    def jitter(rows: Tensor) -> Tensor:
        return rows + noise[:, None, None] * streams.normal(rows.shape[1:])

    def term(params: Mapping[str, Tensor], step: int) -> Tensor:
        if first.algorithm not in ("entmin", "ssl", "moco"):
            return x.new_zeros(len(members))
        rows = batch()
        z = encode(params, rows)
        log_p = posterior(params, z)
        p = log_p.exp()
        entropy = -(p * log_p).sum(-1).mean(1)
        if first.algorithm == "entmin" or (first.algorithm == "moco" and not first.unsupervised):
            found = entropy_weight * min(1.0, step / max(1.0, RAMP * first.steps)) * entropy
        else:
            far = posterior(params, encode(params, jitter(rows)))
            found = (p.detach() * (log_p.detach() - far)).sum(-1).mean(1)
            if first.unsupervised:
                use = p.mean(1)
                found = found + SHARPEN * entropy + BALANCE * (use * use.clamp(min=1e-9).log()).sum(-1)
        return found if contrast is None else found + contrast(params, jitter(rows), jitter(rows))

    return term


def _moco(problem: Problem, members: Sequence[Options]) -> Callable[[Mapping[str, Tensor], Tensor, Tensor], Tensor]:
    streams = Streams([o.seed for o in members], 6, problem.device)
    slow: Params = {}
    queue = F.normalize(streams.normal((QUEUE, members[0].width)), dim=-1)
    place = 0

    def contrast(params: Mapping[str, Tensor], one: Tensor, two: Tensor) -> Tensor:
        nonlocal queue, place
        with torch.no_grad():
            for name in [n for n in params if n.startswith("learner.")]:
                slow[name] = (
                    params[name].detach().clone() if name not in slow else slow[name].lerp(params[name], 1 - MOMENTUM)
                )
            key = F.normalize(encode(slow, two), dim=-1)
        query = F.normalize(encode(params, one), dim=-1)
        logits = torch.cat([(query * key).sum(-1, keepdim=True), query @ queue.transpose(1, 2)], -1) / TEMPERATURE
        loss = -F.log_softmax(logits, -1)[..., 0].mean(1)
        at = (place + torch.arange(key.shape[1], device=key.device)) % QUEUE
        queue = queue.index_copy(1, at, key)
        place = (place + key.shape[1]) % QUEUE
        return loss

    return contrast
