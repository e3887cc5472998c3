"""Weights on disk: one safetensors file, written whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import nn

from ..utils import checks as check
from ..utils.cache import checksum
from ..utils.files import beside


def save_checkpoint(model: nn.Module, path: str | Path, metadata: Mapping[str, str] | None = None) -> Path:
    """Write a model's state to ``path`` (safetensors), whole or not at all.

    Args:
        model: whose parameters and buffers are kept.
        path: of the file; folders above it are made.
        metadata: words of your own that the file carries along.

    Returns:
        The path.

    Raises:
        TypeError: no module; metadata that is not text.
        ValueError: a path that names a folder.
        OSError: the disk; an older file under that name stays whole.
    """
    from safetensors.torch import save_file

    check.instance("model", model, nn.Module)
    path = check.path("path", path)
    if not path.name or path.is_dir():
        raise ValueError(f"path must name a file to write, got {str(path)!r}.")
    for key, value in check.mapping("metadata", {} if metadata is None else metadata, "text").items():
        check.instance(f"metadata[{key!r}]", value, str)
        check.instance("a name in metadata", key, str)
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {k: v.detach().cpu().contiguous().clone() for k, v in model.state_dict().items()}
    with beside(path) as unfinished:
        save_file(state, unfinished, metadata={**(metadata or {}), "checksum": checksum(state)})
    return path


def load_checkpoint(model: nn.Module, path: str | Path) -> nn.Module:
    """Load a state written by :func:`save_checkpoint` into ``model`` and return it.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file does not fit the model, is damaged, or is not safetensors.
    """
    from safetensors import SafetensorError, safe_open

    check.instance("model", model, nn.Module)
    path = check.path("path", path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint at {str(path)!r}.")
    try:
        with safe_open(path, "pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
            written = (file.metadata() or {}).get("checksum")
        if written is not None and written != checksum(state):
            raise ValueError(f"{path.name} is damaged: its weights do not fit its checksum; save the model again.")
        model.load_state_dict(state)
    except (SafetensorError, RuntimeError) as error:
        raise ValueError(f"{path.name} does not hold the weights of this model: {error}") from None
    return model
