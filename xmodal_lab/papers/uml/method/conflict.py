"""Do the modalities pull the shared head the same way? The paper names gradient interference as open (Sec 5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch.nn.functional import cosine_similarity, cross_entropy

from ....data.unpaired import Unpaired, draw_shots
from ....utils import checks as check
from .heads import Head, checked_heads
from .schedules import renamed
from .training import Trained, train_heads


def gradient_cosines(data: Unpaired, heads: Head | Sequence[Head], steps: Sequence[int] = (1, 25, 100)) -> np.ndarray:
    """Cosine between the gradients of the target's and of the first auxiliary's loss on the shared head W.

        cos(∇_W CE_x, ∇_W CE_y), over all shots of each

    Above 0 the auxiliary pulls where the target does; below 0 they are in conflict (as in Yu et al. 2020).

    Args:
        data, heads: as in :func:`~.training.train_heads`; each with shots of its first auxiliary.
        steps: of training at a constant rate, at which it is looked.

    Returns:
        (steps, heads), in [-1, 1].

    Raises:
        ValueError, TypeError: a head without auxiliary shots, no step; what is no head, or no data.
    """
    asked = checked_heads(data, heads)
    if any(not head.auxiliary or head.shots_of(head.auxiliary[0]) == 0 for head in asked):
        raise ValueError("two losses can be in conflict only with auxiliary shots; give aux_shots of at least 1.")
    looks = [check.integer("a step", k, at_least=1) for k in check.listed("steps", steps)]
    if not looks:
        raise ValueError("steps is empty; say after how many steps to look.")
    short = [replace(head, steps=k, schedule="constant", warmup=0) for k in looks for head in asked]
    found = [_cosine(data, trained) for trained in train_heads(data, short)]
    return np.array(found).reshape(len(looks), len(asked))


@torch.inference_mode(False)
@torch.enable_grad()
def _cosine(data: Unpaired, trained: Trained) -> float:
    head, w = trained.head, trained.params["head"].clone().requires_grad_(True)
    gradients = []
    for m in (head.target, head.auxiliary[0]):
        x, y = data.train[m]
        rows = draw_shots(y, head.shots_of(m), head.seed, m, data.classes)
        labels = y[rows] if m == head.target else renamed(head, len(data.classes))[y[rows]]
        scale = trained.params.get(f"scale:{m}", torch.tensor(0.0)).exp() * head.logit_scale
        loss = cross_entropy(trained.embed(m, x[rows]) @ w.T * scale, labels)
        gradients.append(torch.autograd.grad(loss, w)[0].flatten())
    return float(cosine_similarity(gradients[0], gradients[1], dim=0))
