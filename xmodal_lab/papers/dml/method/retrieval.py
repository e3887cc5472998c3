"""DML without labels (App C.1): contrastive learning on pairs drawn within pseudo-classes.

Pseudo-labels are k-means clusters of the first modality in a UMAP of few dimensions. Two small
encoders are trained with InfoNCE; the partner of a row is its own (SML), or drawn from its
cluster (DML). All arms and seeds train as one stack.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ....data.pairing import Pairing
from ....data.samples import Dataset, Samples
from ....instruments.metrics import recall_at_k
from ....losses import Params
from ....models.stacked import linear, uniform
from ....training.descent import descend, member
from ....utils import checks as check
from ....utils.effort import tell_if_long
from ....utils.factors import principal_components

if TYPE_CHECKING:
    import pandas as pd

ARMS = ("SML", "DML", "DML, random clusters")
KS = (1, 5, 10)
TEMPERATURE = 0.07  # Radford et al. 2021, where CLIP starts
COMPONENTS, HIDDEN, WIDTH = 64, 128, 32  # principal components, hidden layer and embedding of an encoder (ours)


def pseudo_labels(samples: Samples, modality: str, clusters: int, *, dims: int = 10, seed: int = 0) -> Tensor:
    """Cluster numbers (n,) of one modality: UMAP to ``dims``, then k-means (App C.1, there 100 of ViT features).

    Args:
        samples: rows with the modality; the inputs themselves are reduced, to 50 principal components first.
        modality: which.
        clusters: k.
        dims: of the UMAP (ours; the paper gives none).
        seed: of both.

    Warns:
        UserWarning: so many rows that it takes more than about a minute.

    Raises:
        ValueError: more clusters than rows, or fewer than two.
    """
    import warnings

    from sklearn.cluster import KMeans

    if not 2 <= check.integer("clusters", clusters) <= len(samples):
        raise ValueError(f"clusters must be between 2 and the {len(samples)} rows, got {clusters}.")
    flat = samples.inputs[modality]
    # UMAP goes over each point's neighbours some hundred times, on one thread where a seed is given (ours).
    tell_if_long(f"pseudo-labels of {len(flat)} rows", 1e5 * len(flat), "take a subset of the rows")
    small = principal_components(flat, 50)(flat).double()
    # UMAP multiplies the last digit of what it reads, so it reads what rounding leaves alone.
    seen = (small / small.abs().max()).numpy().round(5).astype(np.float32)
    with warnings.catch_warnings():  # that a seed makes UMAP single-threaded is what is wanted
        warnings.simplefilter("ignore")
        from umap import UMAP

        low = UMAP(n_components=min(dims, len(flat) - 2), random_state=seed).fit_transform(seen)
        clusters_of = KMeans(clusters, n_init=4, random_state=seed).fit_predict(low)
    return torch.from_numpy(np.asarray(clusters_of)).long()


def retrieve(
    dataset: Dataset, seeds: Sequence[int], *, arms: Sequence[str] = ARMS, clusters: int = 30, steps: int = 600,
    batch: int = 128, lr: float = 1e-3,
) -> pd.DataFrame:  # fmt: skip
    """Recall@k of both directions on the test split, one row per arm, seed, task and k.

    Args:
        dataset: its first two modalities are matched; rows that lack one are left out.
        seeds: of encoders, batches, pairs and clusters.
        arms: of :data:`ARMS`; "SML" alone makes no clusters.
        clusters: pseudo-classes (30: ours, about 40 rows each as in the paper's 300; the paper has 100).
        steps, batch, lr: of Adam (ours).

    Raises:
        ValueError: fewer than two modalities; an unknown arm; as :func:`pseudo_labels`.
    """
    import pandas as pd

    arms = [check.one_of("arm", arm, ARMS) for arm in check.listed("arms", arms)]
    if len(dataset.modalities) < 2:
        raise ValueError(f"retrieval needs two modalities; {dataset.name!r} has {len(dataset.modalities)}.")
    first, second = dataset.modalities[:2]
    train, test = (s.complete((first, second)).select((first, second)) for s in (dataset.train, dataset.test))
    alone = list(arms) == ["SML"]
    labels = torch.zeros(len(train), dtype=torch.long) if alone else pseudo_labels(train, first, clusters)
    members = [(arm, seed) for arm in arms for seed in seeds]
    plans = [_partners(train, arm, labels, seed) for arm, seed in members]
    reduce = {m: _components(train.inputs[m]) for m in (first, second)}
    views = {m: reduce[m](train.inputs[m]) for m in (first, second)}
    orders = [torch.Generator().manual_seed(seed) for _, seed in members]

    def losses(params: Params, step: int) -> Tensor:
        rows = torch.stack([torch.randint(len(train), (min(batch, len(train)),), generator=g) for g in orders])
        partners = torch.stack([plan(r, step) for plan, r in zip(plans, rows, strict=True)])
        a, b = _embed(params, first, views[first][rows]), _embed(params, second, views[second][partners])
        logits = a @ b.transpose(1, 2) / TEMPERATURE
        own = logits.diagonal(dim1=1, dim2=2)
        return (0.5 * (logits.logsumexp(1) + logits.logsumexp(2)) - own).mean(1)  # InfoNCE, both ways

    trained = descend(_start(views, [seed for _, seed in members]), losses, steps=steps, lr=lr)
    rows = []
    for k, (arm, seed) in enumerate(members):
        one = {name: p[None] for name, p in member(trained, k).items()}
        a, b = (_embed(one, m, reduce[m](test.inputs[m])[None])[0] for m in (first, second))
        for task, (queries, gallery) in {f"{first} → {second}": (a, b), f"{second} → {first}": (b, a)}.items():
            scores = recall_at_k(queries, gallery, [k for k in KS if k <= len(test)])
            rows += [{"arm": arm, "seed": seed, "task": task, "k": k, "recall": v} for k, v in scores.items()]
    return pd.DataFrame(rows)


def _components(seen: Tensor) -> Callable[[Tensor], Tensor]:
    """Principal components of the training inputs, brought to unit mean variance: what the encoders read."""
    encode = principal_components(seen, COMPONENTS)
    scale = encode(seen).double().var(0).mean().sqrt().to(seen)
    return lambda x: encode(x) / scale


class _partners:
    """Where each row's partner comes from, at each step."""

    def __init__(self, train: Samples, arm: str, labels: Tensor, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        if arm == "DML, random clusters":
            labels = labels[torch.randperm(len(labels), generator=generator)]
        index = torch.arange(len(train))[:, None].float()
        self.samples = Samples({"a": index, "b": index}, labels)
        self.plan, self.seed = Pairing("fixed" if arm == "SML" else "same_class"), seed

    def __call__(self, rows: Tensor, step: int) -> Tensor:
        return self.plan.draw(self.samples, seed=self.seed, epoch=step).index["b"][rows]


def _start(views: dict[str, Tensor], seeds: Sequence[int]) -> Params:
    params: dict[str, list[Tensor]] = {}
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        for m, x in views.items():
            for name, (fan_in, fan_out) in {"1": (x.shape[1], HIDDEN), "2": (HIDDEN, WIDTH)}.items():
                params.setdefault(f"{m}.{name}.weight", []).append(uniform(generator, fan_in, fan_in, fan_out).to(x))
                params.setdefault(f"{m}.{name}.bias", []).append(x.new_zeros(1, fan_out))
    return {name: torch.stack(parts) for name, parts in params.items()}


def _embed(params: Params, m: str, x: Tensor) -> Tensor:
    """Unit-norm embeddings of every member: x (K, n, d) -> (K, n, WIDTH)."""
    h = torch.relu(linear(params, f"{m}.1", x))
    return torch.nn.functional.normalize(linear(params, f"{m}.2", h), dim=-1)
