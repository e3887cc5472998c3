"""Train the small frozen encoders of uml's shapes world; writes ``uml_encoders.npz`` (float16 weights).

    python scripts/train_uml_encoders.py

On 8000 samples that uml never shows again (seed 1000 of the shapes world):

- ``image_attributes``, ``audio_attributes``: predict shape, colour, texture and size with separate heads, so those
  factors can be read off linearly. They have seen labels of *other* samples; the lesson says so.
- ``image_aligned`` and ``text_aligned``: a contrastive pair (InfoNCE, temperature 0.1) of pictures and captions of
  the same sample. The text side is linear on the captions' shipped vectors.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import numpy as np
import torch
from embed_sentences import DATA
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from xmodal_lab.data import sentences as texts
from xmodal_lab.data.datasets.made.shapes import SHARED, load_shapes
from xmodal_lab.papers.uml.worlds import small as worlds

SAMPLES, EPOCHS, BATCH, LR = 8000, 15, 128, 2e-3


def train(params: Iterable[Tensor], loss: Callable[[Tensor], Tensor], n: int, name: str) -> None:
    optimizer = torch.optim.AdamW(list(params), LR, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, total_steps=EPOCHS * (n // BATCH))
    started, value = time.perf_counter(), torch.zeros(())
    for _ in range(EPOCHS):
        for rows in torch.randperm(n)[: n // BATCH * BATCH].split(BATCH):
            value = loss(rows)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            schedule.step()
    print(f"{name}: loss {float(value.detach()):.3f}, {time.perf_counter() - started:.0f} s", flush=True)


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    samples = load_shapes(SAMPLES, 1, 0, label=("shape", "color"), modalities=("image", "audio"), seed=1000).train
    stored: dict[str, np.ndarray] = {}

    def keep(name: str, module: nn.Module) -> None:
        for key, value in module.state_dict().items():
            stored[f"{name}.{key}"] = value.numpy().astype(np.float16)

    for modality in ("image", "audio"):
        x = samples.inputs[modality]
        encoder = worlds.small_encoder(x.shape[1:])
        heads = nn.ModuleDict({part: nn.Linear(worlds.WIDTH, len(values)) for part, values in SHARED.items()})

        def loss(rows: Tensor, x: Tensor = x, encoder: nn.Module = encoder, heads: nn.ModuleDict = heads) -> Tensor:
            z = torch.relu(encoder(x[rows]))
            each = [cross_entropy(h(z), samples.latents[p][rows], label_smoothing=0.1) for p, h in heads.items()]
            return torch.stack(each).sum()

        train([*encoder.parameters(), *heads.parameters()], loss, SAMPLES, f"{modality}_attributes")
        keep(f"{modality}_attributes", encoder)

    vectors, labels = texts.vectors("shapes", "caption")
    by_class = torch.stack([(labels == c).nonzero()[:, 0] for c in range(len(texts.FIGURES))])
    x, encoder, side = (
        samples.inputs["image"],
        worlds.small_encoder((3, 32, 32)),
        nn.Linear(texts.DIMENSIONS, worlds.WIDTH),
    )

    def nce(rows: Tensor) -> Tensor:
        drawn = by_class[samples.labels[rows], torch.randint(by_class.shape[1], (len(rows),))]
        a, b = normalize(encoder(x[rows]), dim=1), normalize(side(vectors[drawn]), dim=1)
        same = samples.labels[rows][:, None] == samples.labels[rows][None]
        target = same.float() / same.sum(1, keepdim=True)  # captions of one class are equally right
        logits = a @ b.T / 0.1
        return (cross_entropy(logits, target) + cross_entropy(logits.T, target)) / 2

    train([*encoder.parameters(), *side.parameters()], nce, SAMPLES, "aligned")
    keep("image_aligned", encoder)
    keep("text_aligned", side)
    np.savez_compressed(DATA / "uml_encoders.npz", **stored)
    print((DATA / "uml_encoders.npz").stat().st_size, "bytes")


if __name__ == "__main__":
    main()
