"""Ordinary kinds of module that people bring, each small and with a batch of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

Made = tuple[nn.Module, tuple[Tensor, ...]]
ROWS, CLASSES = 12, 3


def draw(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def labels() -> Tensor:
    return torch.arange(ROWS) % CLASSES


class Then(nn.Module):
    """A part, then what makes logits of its answer."""

    def __init__(self, part: nn.Module, read: Callable[[Any], Tensor], width: int) -> None:
        super().__init__()
        self.part, self.read, self.head = part, read, nn.Linear(width, CLASSES)

    def forward(self, *x: Tensor) -> Tensor:
        """Logits (N, 3)."""
        return self.head(self.read(self.part(*x)))  # type: ignore[no-any-return]


class Tied(nn.Module):
    """One matrix there and back."""

    def __init__(self) -> None:
        super().__init__()
        self.into, self.back, self.head = nn.Linear(8, 6), nn.Linear(6, 8, bias=False), nn.Linear(8, CLASSES)
        self.back.weight = nn.Parameter(torch.zeros(8, 6))
        self.back.weight = self.into.weight  # type: ignore[assignment]

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 3)."""
        h = torch.tanh(self.into(x))
        return self.head(h @ self.back.weight)  # type: ignore[no-any-return]


class Residual(nn.Module):
    """A gate, a skip, and a scalar parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.gate, self.scale, self.head = (
            nn.Linear(8, 8),
            nn.Linear(8, 8),
            nn.Parameter(torch.ones(())),
            nn.Linear(8, 3),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 3)."""
        return self.head(x + self.scale * torch.sigmoid(self.gate(x)) * nn.functional.gelu(self.a(x)))  # type: ignore[no-any-return]


class Cells(nn.Module):
    """A recurrence written by hand, with a loop over time."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 3)."""
        h = x.new_zeros(len(x), 6)
        for t in range(x.shape[1]):
            h = torch.tanh(self.a(x[:, t]) + self.b(h))
        return self.head(h)  # type: ignore[no-any-return]


class Attending(nn.Module):
    """``scaled_dot_product_attention`` called by itself, causal."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.head = nn.Linear(8, 24), nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 3)."""
        q, k, v = self.qkv(x).chunk(3, -1)
        return self.head(nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True).mean(1))  # type: ignore[no-any-return]


class Experts(nn.Module):
    """Rows are sent to one of two experts by an index: shapes that depend on numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.a, self.b = nn.Linear(8, 2), nn.Linear(8, CLASSES), nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 3)."""
        chosen = self.gate(x).softmax(-1)
        first = chosen[:, 0] > 0.5
        out = x.new_zeros(len(x), CLASSES)
        out = out.index_put((first,), self.a(x[first]) * chosen[first, :1])
        return out.index_put((~first,), self.b(x[~first]) * chosen[~first, 1:])


class Constants(nn.Module):
    """Makes tensors in its forward: a mask, positions, a scale."""

    def __init__(self) -> None:
        super().__init__()
        self.places, self.head = nn.Embedding(5, 4), nn.Linear(4, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 3)."""
        at = torch.arange(x.shape[1], device=x.device)
        keep = torch.ones(x.shape[1], device=x.device).cumsum(0) < 5
        h = (x + self.places(at)) * keep[:, None]
        return self.head(h.sum(1) / torch.tensor(4.0, device=x.device))  # type: ignore[no-any-return]


class OnTheCpu(nn.Module):
    """Keeps a constant beside its parameters that ``.to`` does not move, and moves it when called."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.mean = nn.Linear(8, CLASSES), torch.full((8,), 0.1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 3)."""
        return self.a(x - self.mean.to(x))  # type: ignore[no-any-return]


def _conv(norm: nn.Module) -> Made:
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), norm, nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(6, CLASSES),
    )  # fmt: skip
    return net, (draw(ROWS, 1, 8, 8),)


def _dense(*middle: nn.Module) -> Made:
    return nn.Sequential(nn.Linear(8, 6), *middle, nn.Linear(6, CLASSES)), (draw(ROWS, 8),)


def _words() -> Tensor:
    return torch.randint(0, 9, (ROWS, 5), generator=torch.Generator().manual_seed(2))


def _transformer(family: str) -> Made:
    import transformers as tf

    small = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    if family == "bert":
        config = tf.BertConfig(vocab_size=9, max_position_embeddings=8, **small)
        return Then(tf.BertModel(config), lambda out: out.last_hidden_state[:, 0], 8), (_words(),)
    if family == "gpt2":
        config = tf.GPT2Config(vocab_size=9, n_positions=8, n_embd=8, n_layer=1, n_head=2)
        return Then(tf.GPT2Model(config), lambda out: out.last_hidden_state[:, -1], 8), (_words(),)
    if family == "vit":
        config = tf.ViTConfig(image_size=8, patch_size=4, num_channels=1, **small)
        return Then(tf.ViTModel(config), lambda out: out.last_hidden_state[:, 0], 8), (draw(ROWS, 1, 8, 8),)
    one = {**small, "projection_dim": 6}
    words = {**one, "vocab_size": 9, "max_position_embeddings": 8, "eos_token_id": 8, "bos_token_id": 7}
    model = tf.CLIPModel(
        tf.CLIPConfig(text_config=words, vision_config={**one, "image_size": 8, "patch_size": 4}, projection_dim=6)
    )
    given = _words().clamp(max=6)
    given[:, -1] = 8
    read: Callable[[Any], Tensor] = lambda out: out.text_embeds * out.image_embeds  # noqa: E731
    return Then(model, read, 6), (given, draw(ROWS, 3, 8, 8))


KINDS: dict[str, Callable[[], Made]] = {
    "perceptron": lambda: _dense(nn.ReLU()),
    "conv, batch norm": lambda: _conv(nn.BatchNorm2d(4)),
    "conv, group norm": lambda: _conv(nn.GroupNorm(2, 4)),
    "conv, instance norm": lambda: _conv(nn.InstanceNorm2d(4, affine=True)),
    "conv, transposed": lambda: (
        nn.Sequential(nn.ConvTranspose1d(4, 3, 3), nn.SiLU(), nn.AvgPool1d(2), nn.Flatten(), nn.Linear(9, CLASSES)),
        (draw(ROWS, 4, 5),),
    ),
    "conv, three dimensions": lambda: (
        nn.Sequential(nn.Conv3d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, CLASSES)), (draw(ROWS, 1, 4, 4, 4),),
    ),
    "layer norm": lambda: _dense(nn.LayerNorm(6), nn.GELU()),
    "dropout": lambda: _dense(nn.Dropout(0.5), nn.ReLU()),
    "weight norm": lambda: (
        nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(8, 6)), nn.Tanh(), nn.Linear(6, CLASSES)),
        (draw(ROWS, 8),),
    ),
    "spectral norm": lambda: (
        nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(8, 6)), nn.Tanh(), nn.Linear(6, CLASSES)),
        (draw(ROWS, 8),),
    ),
    "orthogonal": lambda: (
        nn.Sequential(nn.utils.parametrizations.orthogonal(nn.Linear(8, 6)), nn.Tanh(), nn.Linear(6, CLASSES)),
        (draw(ROWS, 8),),
    ),
    "tied": lambda: (Tied(), (draw(ROWS, 8),)),
    "residual": lambda: (Residual(), (draw(ROWS, 8),)),
    "embedding": lambda: (Then(nn.Embedding(9, 4), lambda h: h.mean(1), 4), (_words(),)),
    "bag of words": lambda: (Then(nn.EmbeddingBag(9, 4), lambda h: h, 4), (_words(),)),
    "recurrence by hand": lambda: (Cells(), (draw(ROWS, 3, 4),)),
    "rnn": lambda: (Then(nn.RNN(4, 6, batch_first=True), lambda out: out[0][:, -1], 6), (draw(ROWS, 3, 4),)),
    "lstm": lambda: (Then(nn.LSTM(4, 6, batch_first=True), lambda out: out[0][:, -1], 6), (draw(ROWS, 3, 4),)),
    "gru": lambda: (Then(nn.GRU(4, 6, batch_first=True), lambda out: out[0][:, -1], 6), (draw(ROWS, 3, 4),)),
    "attention": lambda: (
        Then(_SelfAttention(), lambda h: h.mean(1), 8), (draw(ROWS, 4, 8),),
    ),
    "attention, called": lambda: (Attending(), (draw(ROWS, 4, 8),)),
    "encoder layer": lambda: (
        Then(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), lambda h: h[:, 0], 8), (draw(ROWS, 4, 8),),
    ),
    "bilinear": lambda: (nn.Bilinear(4, 5, CLASSES), (draw(ROWS, 4), draw(ROWS, 5, seed=3))),
    "experts": lambda: (Experts(), (draw(ROWS, 8),)),
    "constants": lambda: (Constants(), (draw(ROWS, 5, 4),)),
    "a constant elsewhere": lambda: (OnTheCpu(), (draw(ROWS, 8),)),
    "bert": lambda: _transformer("bert"),
    "gpt2": lambda: _transformer("gpt2"),
    "vit": lambda: _transformer("vit"),
    "clip": lambda: _transformer("clip"),
}  # fmt: skip


class _SelfAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attend = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.attend(x, x, x, need_weights=False)[0]  # type: ignore[no-any-return]


def made(kind: str) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """The module in eval mode and its batch, labels last."""
    torch.manual_seed(0)
    module, inputs = KINDS[kind]()
    return module.eval(), (*inputs, labels())
