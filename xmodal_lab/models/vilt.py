"""``transformers``' ViLT as one tower: the same seam between embedding and transformer as the small one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..utils import checks as check
from ..utils.torch_state import seeded
from .tokens import Hidden, Tokens, alone

# A random ViLT that runs in milliseconds (ours).
SMALL: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "image_size": 32,
    "patch_size": 8, "max_position_embeddings": 40, "vocab_size": 64, "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}  # fmt: skip


class ViltTower(nn.Module):
    """ViLT (Kim et al. 2021), the backbone of wma, with a head on its class token.

    Inputs: ``"image"`` (N, 3, H, W) as ViLT's processor gives them, ``"text"`` (N, L) word-piece ids whose first is
    [CLS], and where pictures are padded ``"image_mask"`` (N, H, W), 1 at real pixels. Word pieces equal to
    the padding id (0 in BERT) are masked. Tokens are the word pieces after [CLS] and the patches, row by row; both
    class tokens are ``special``.

    Args:
        vilt: a ``transformers.ViltModel``.
        outputs: C of the head.

    Raises:
        TypeError: something that is no ViltModel.
    """

    modalities = ("image", "text")

    def __init__(self, vilt: nn.Module, outputs: int) -> None:
        super().__init__()
        if not hasattr(vilt, "embeddings") or not hasattr(vilt.embeddings, "visual_embed"):
            raise TypeError(f"vilt must be a transformers.ViltModel, got {type(vilt).__name__}.")
        self.vilt: Any = vilt
        self.head = nn.Linear(vilt.config.hidden_size, check.integer("outputs", outputs, at_least=1))  # type: ignore[union-attr,arg-type]

    @classmethod
    def from_pretrained(cls, name: str, outputs: int) -> ViltTower:
        """ViLT by its name on the hub, such as "dandelin/vilt-b32-mlm", or from a local folder; the head is new.

        Raises:
            OSError: ``transformers`` finds no such model.
        """
        from transformers import ViltModel

        return cls(ViltModel.from_pretrained(name), outputs)

    @classmethod
    def random(cls, outputs: int, seed: int = 0, **config: Any) -> ViltTower:
        """A small ViLT with random weights of ``seed``, for tests; ``config`` as of ``transformers.ViltConfig``."""
        from transformers import ViltConfig, ViltModel

        with seeded(check.integer("seed", seed, at_least=0)):
            return cls(ViltModel(ViltConfig(**{**SMALL, **config})), outputs)

    def embed(self, inputs: Mapping[str, Tensor], modalities: Sequence[str] | None = None) -> Tokens:
        """Word pieces and patches with their position and type (wma Eq 1, 2).

        ``modalities`` are those that enter the sequence, each with its own class token; both when not given.

        Raises:
            ValueError: a modality is not among the inputs.
        """
        names = check.modalities_of(modalities, self.modalities)
        for m in names:
            if m not in inputs:
                raise ValueError(f"inputs lack {m!r}, which ViLT reads; they hold {list(inputs)}.")
        words = self._words(inputs["text"].long()) if "text" in names else {}
        patches = self._patches(inputs) if "image" in names else {}
        found = {**patches, **words}
        special = [found[m][2] for m in ("text", "image") if m in found]
        return Tokens({m: x[0] for m, x in found.items()}, {m: x[1] for m, x in found.items()}, torch.cat(special, 1))

    def _words(self, ids: Tensor) -> dict[str, tuple[Tensor, Tensor, Tensor]]:
        parts = self.vilt.embeddings
        words = parts.text_embeddings(input_ids=ids) + parts.token_type_embeddings.weight[0]
        here = ids != (self.vilt.config.pad_token_id or 0)
        return {"text": (words[:, 1:], here[:, 1:], words[:, :1])}

    def _patches(self, inputs: Mapping[str, Tensor]) -> dict[str, tuple[Tensor, Tensor, Tensor]]:
        parts, pixels = self.vilt.embeddings, inputs["image"]
        shown = inputs.get("image_mask", pixels.new_ones(len(pixels), *pixels.shape[-2:]))
        patches, mask, (place, (_, across)) = parts.visual_embed(
            pixels, shown, max_image_length=self.vilt.config.max_image_length
        )
        patches = patches + parts.token_type_embeddings.weight[1]
        mask = mask[:, 1:].bool()
        # ViLT draws its patches in random order; here they stand row by row, padding last.
        order = (place[..., 0] * across + place[..., 1]).masked_fill(~mask, 1 << 30).argsort(dim=1, stable=True)
        ordered = patches[:, 1:].gather(1, order[..., None].expand(-1, -1, patches.shape[-1]))
        return {"image": (ordered, mask.gather(1, order), patches[:, :1])}

    def run(self, tokens: Tokens) -> Hidden:
        """ViLT's transformer on embedded tokens (wma Eq 3). Their order does not matter: positions are in them."""
        x, mask = tokens.sequence()
        lowest = torch.finfo(x.dtype).min
        unseen = torch.zeros(mask.shape, dtype=x.dtype, device=x.device).masked_fill(~mask, lowest)
        x = self.vilt.encoder(x, attention_mask=unseen[:, None, None, :].expand(-1, 1, x.shape[1], -1))[0]
        x = self.vilt.layernorm(x)
        return tokens.split(x, x[:, 0] if self.vilt.pooler is None else self.vilt.pooler(x))

    def hidden(self, inputs: Mapping[str, Tensor]) -> Hidden:
        """Output tokens by modality, and the pooled class token, of ``inputs`` by modality."""
        return self.run(self.embed(inputs))

    def latents(self, inputs: Mapping[str, Tensor]) -> Hidden:
        """Output tokens of the modalities among ``inputs``, which alone enter the sequence."""
        known = [m for m in self.modalities if m in check.mapping("inputs", inputs, "tensors")]
        return self.run(self.embed(inputs, known or None))

    def classify(self, hidden: Hidden, only: str | None = None) -> Tensor:
        """Logits (N, C) from the class token of ``hidden`` (wma Eq 4), whose sequence held ``only`` that modality.

        Raises:
            ValueError: ``only`` is given, and the sequence held more.
        """
        alone(hidden, only)
        logits: Tensor = self.head(hidden.cls)
        return logits

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Logits (N, C)."""
        return self.classify(self.hidden(inputs))
