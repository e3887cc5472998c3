"""A dial for dml's Assumption 2: how much of the label lives in the combination of two modalities.

From any dataset of at least four classes: each modality shows a *bit* (its class in the lower or
the upper half) and a *cue* (its class even or odd). The label is the XOR of both bits. In a share
of the rows nothing else tells it; in the others the cues of both modalities tell it too.

Given the label, the bits determine each other, so the modalities are not independent: a partner
drawn from all rows of the same label destroys what only the combination tells.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..utils import checks as check
from .samples import Dataset, Samples

CLASSES = ("same", "different")


def xor(dataset: Dataset, share: float = 1.0, *, seed: int = 0) -> Dataset:
    """The dataset with its first two modalities paired anew, and their XOR as the label.

    The best guess from one modality is right in a share of 1 - share/2, that from both always.
    SML can learn it at every share; DML, which draws partners by label, loses the share.

    Args:
        dataset: at least two modalities and four classes. A split keeps as many rows as its more
            frequent modality has; samples repeat evenly.
        share: of the rows in which the combination alone tells the label, in [0, 1].
        seed: of labels and pairs.

    Raises:
        ValueError: fewer than two modalities or four classes, a share outside [0, 1], a class
            without samples in a split.

    Source: dml, Assumption 2 and App D.2; the world is ours.
    """
    share = check.share("share", share)
    check.integer("seed", seed, at_least=0)
    if len(dataset.modalities) < 2 or len(dataset.classes) < 4:
        raise ValueError(
            f"xor needs two modalities and four classes; {dataset.name!r} has {len(dataset.modalities)} "
            f"and {len(dataset.classes)}."
        )
    generator = torch.Generator().manual_seed(seed)
    made = {k: _split(s, dataset, share, generator) for k, s in dataset.splits.items()}
    return Dataset(
        f"{dataset.name}, xor {share:g}",
        made["train"],
        made["test"],
        CLASSES,
        val=made.get("val"),
        kinds={m: dataset.kinds[m] for m in dataset.modalities[:2]},
        provenance={**dataset.provenance, "xor": {"share": share, "seed": seed}},
    )


def _split(samples: Samples, dataset: Dataset, share: float, generator: torch.Generator) -> Samples:
    names = samples.modalities[:2]
    half = -(-len(dataset.classes) // 2)
    n = max(int(samples.present[m].sum()) for m in names)
    labels, bits = torch.randint(0, 2, (2, n), generator=generator)
    cued = torch.rand(n, generator=generator, dtype=torch.float32) >= share
    inputs: dict[str, Tensor] = {}
    for m, bit in zip(names, (bits, bits ^ labels), strict=True):
        cue = torch.where(cued, labels, torch.randint(0, 2, (n,), generator=generator))
        rows = samples.present[m].cpu().nonzero()[:, 0]
        of = samples.labels.cpu()[rows]
        source = torch.zeros(n, dtype=torch.long)
        for b in (0, 1):
            for c in (0, 1):
                pool = rows[(of >= half).eq(bool(b)) & (of % 2 == c) & (of >= 0)]
                wanted = ((bit == b) & (cue == c)).nonzero()[:, 0]
                if len(pool) == 0 and len(wanted):
                    raise ValueError(f"no sample of modality {m!r} has a class that shows bit {b} and cue {c}.")
                turns = -(-len(wanted) // max(1, len(pool)))
                order = [torch.randperm(len(pool), generator=generator) for _ in range(turns)]
                if len(wanted):
                    source[wanted] = pool[torch.cat(order)[: len(wanted)]]
        inputs[m] = samples.inputs[m][source.to(samples.inputs[m].device)]
    latents = {f"{names[0]}_bit": bits, f"{names[1]}_bit": bits ^ labels, "cued": cued}
    return Samples(inputs, labels, latents=latents)
