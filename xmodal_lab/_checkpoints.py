"""Weights on disk: one safetensors file, written whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import nn


def save_checkpoint(model: nn.Module, path: str | Path, metadata: Mapping[str, str] | None = None) -> Path:
    """Write a model's state to ``path`` (safetensors), whole or not at all; returns the path."""
    from safetensors.torch import save_file

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".part")
    state = {k: v.detach().cpu().contiguous().clone() for k, v in model.state_dict().items()}
    save_file(state, unfinished, metadata=dict(metadata or {}))
    unfinished.replace(path)
    return path


def load_checkpoint(model: nn.Module, path: str | Path) -> nn.Module:
    """Load a state written by :func:`save_checkpoint` into ``model`` and return it.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file does not fit the model, or is not safetensors.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}.")
    try:
        model.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError) as error:
        raise ValueError(f"{path.name} does not hold the weights of this model: {error}") from None
    return model
