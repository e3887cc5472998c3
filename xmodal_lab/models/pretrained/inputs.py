"""What goes into a pretrained encoder and comes out: checked inputs, batches, tokens pooled to one feature."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from .pictures import Pictures, pictures
from .waves import Waves

# Their positions start behind the padding token's number.
_BEHIND_PADDING = ("roberta", "xlm-roberta", "mpnet")


class Fed(Protocol):
    """What is asked of an encoder that is fed: fields of :class:`.encoder.Pretrained`, which imports this file."""

    @property
    def modality(self) -> str: ...  # noqa: D102

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def pool(self) -> str: ...  # noqa: D102

    @property
    def batch_size(self) -> int: ...  # noqa: D102

    @property
    def max_length(self) -> int | None: ...  # noqa: D102

    @property
    def model(self) -> Any: ...  # noqa: D102

    @property
    def prepare(self) -> Mapping[str, Any]: ...  # noqa: D102


class _Both(Sequence[tuple[Tensor, str]]):
    """Pictures and texts, row by row."""

    def __init__(self, images: Pictures, texts: list[str]) -> None:
        self.images, self.texts = images, texts

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, row: Any) -> Any:
        return self.images[row], self.texts[row]


def items_of(encoder: Fed, inputs: Any, rate: int | None) -> tuple[Sequence[Any], Any]:
    """One item per row, and what the cache's key hashes."""
    if encoder.modality == "image+text":
        if not isinstance(inputs, Mapping) or set(inputs) != {"image", "text"}:
            raise ValueError("an image+text encoder takes a dict with 'image' and 'text'.")
        images, texts = pictures(inputs["image"]), _texts(inputs["text"])
        if len(images) != len(texts):
            raise ValueError(f"as many images as texts are needed, got {len(images)} and {len(texts)}.")
        return _Both(images, texts), {"image": images, "text": texts}
    if encoder.modality == "text":
        texts = _texts(inputs)
        return texts, texts
    if encoder.modality == "image":
        images = pictures(inputs)
        return images, images
    waves = Waves(inputs, rate, int(encoder.prepare["waves"].sampling_rate), _shortest(encoder.model), encoder.name)
    return waves, waves.by_name()


def _texts(inputs: Any) -> list[str]:
    if isinstance(inputs, str) or not isinstance(inputs, Sequence) or not inputs:
        raise ValueError(f"text encoders take a list of strings, got {type(inputs).__name__}.")
    for i, text in enumerate(inputs):
        if not isinstance(text, str):
            raise ValueError(f"text {i} must be a string, got {type(text).__name__}.")
        if not text.strip():
            raise ValueError(f"text {i} is empty; leave that row out or mark it absent.")
        if any("\ud800" <= c <= "\udfff" for c in text):
            raise ValueError(f"text {i} holds half a character (a lone surrogate), which is no text; mend its source.")
    return list(inputs)


def _lengths(items: Sequence[Any]) -> list[int]:
    """Of texts and waves; of pictures all are alike, and none is read for it."""
    if isinstance(items, Pictures):
        return [0] * len(items)
    if isinstance(items, Waves):
        return items.lengths()
    return [len(item) for item in (items.texts if isinstance(items, _Both) else items)]


def batches(encoder: Fed, items: Sequence[Any]) -> Iterator[list[int]]:
    """Rows that go through the model together; the longest first, since a batch is as slow as its longest.

    Waves of different length are only put together where the model is told what is padding. wav2vec2-base is not:
    padding would enter its normalisation and its mean, and a feature would hang on its neighbours.
    """
    lengths = _lengths(items)
    order = sorted(range(len(items)), key=lengths.__getitem__, reverse=True)
    masked = encoder.modality != "audio" or (
        bool(encoder.prepare["waves"].return_attention_mask) and encoder.model.config.feat_extract_norm == "layer"
    )
    start = 0
    while start < len(order):
        rows = order[start : start + encoder.batch_size]
        if not masked:
            rows = [i for i in rows if lengths[i] == lengths[rows[0]]]
        yield rows
        start += len(rows)


def _shortest(model: Any) -> int:
    """Samples that give wav2vec2 one frame of features."""
    samples = 1
    for kernel, stride in reversed(list(zip(model.config.conv_kernel, model.config.conv_stride, strict=True))):
        samples = (samples - 1) * stride + kernel
    return samples


def batch_of(encoder: Fed, items: list[Any]) -> dict[str, Tensor]:
    """What the model takes, as tensors."""
    batch: dict[str, Any] = {}
    if encoder.modality == "audio":
        extractor = encoder.prepare["waves"]
        waves = [w.numpy() for w in items]
        return dict(extractor(waves, sampling_rate=extractor.sampling_rate, padding=True, return_tensors="pt"))
    texts = items if encoder.modality == "text" else [i[1] for i in items] if encoder.modality == "image+text" else []
    images = items if encoder.modality == "image" else [i[0] for i in items] if encoder.modality == "image+text" else []
    if texts:
        tokenizer = encoder.prepare["tokenizer"]
        longest = getattr(encoder.model.config, "max_position_embeddings", 512)
        if encoder.model.config.model_type in _BEHIND_PADDING:
            longest -= 1 + int(encoder.model.config.pad_token_id or 0)
        most = min(encoder.max_length or longest, longest, tokenizer.model_max_length)
        tokens = tokenizer(texts, padding=True, truncation=True, max_length=most, return_tensors="pt")
        known = inspect.signature(encoder.model.forward).parameters  # older tokenizers give kinds that no model takes
        batch |= {name: t for name, t in tokens.items() if name in known or name != "token_type_ids"}
    if images:
        arrays = [image.permute(1, 2, 0).numpy() for image in images]
        batch |= encoder.prepare["images"](arrays, input_data_format="channels_last", return_tensors="pt")
    return batch


def pooled(encoder: Fed, out: Any, batch: Mapping[str, Tensor]) -> Tensor:
    """(N, width) from what the model returned."""
    if encoder.pool == "projection":
        found: Tensor = out.image_embeds if encoder.modality == "image" else out.text_embeds
        return found
    states: Tensor = out.last_hidden_state
    if encoder.pool == "first":
        return states[:, 0]
    mask = batch.get("attention_mask")
    if mask is not None and encoder.modality == "audio":
        mask = encoder.model._get_feature_vector_attention_mask(states.shape[1], mask)
    if mask is None or encoder.modality not in ("audio", "text"):
        return states.mean(1, dtype=torch.float64 if states.dtype == torch.float64 else torch.float32)
    states = states if states.dtype == torch.float64 else states.float()  # a sum overflows half precision
    weight = mask.unsqueeze(-1).to(states.dtype)
    return (states * weight).sum(1) / weight.sum(1).clamp(min=1)
