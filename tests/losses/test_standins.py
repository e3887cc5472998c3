from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import nn

from xmodal_lab import landscape
from xmodal_lab.instruments.landscape import grids
from xmodal_lab.losses import Loss, standins
from xmodal_lab.losses.parameters import moved


@pytest.fixture(autouse=True)
def _every_first_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small layers get stand-ins too, though they would not pay."""
    monkeypatch.setattr(standins, "LEAST_FAN_IN", 1)


class Detached(nn.Module):
    """The second layer's input depends on θ but carries no gradient: a stand-in would be wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(32, 32), nn.Linear(32, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.two(torch.relu(self.one(x)).detach())


class Siamese(nn.Module):
    """One encoder for both inputs: it runs twice, so nothing of it may be swapped."""

    def __init__(self) -> None:
        super().__init__()
        self.shared, self.head = nn.Linear(32, 16), nn.Linear(32, 3)

    def forward(self, x: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        return self.head(torch.cat([self.shared(x), self.shared(z)], 1))


class Rereads(nn.Module):
    """Walks a Sequential by hand and uses a layer's output again after its ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(32, 3), nn.ReLU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        before = self.net[0](x)
        return self.net[1](before) - 2 * before


class InPlace(nn.Module):
    """Works in place on what its parts give out."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(32, 3), nn.Linear(32, 3)

    def forward(self, x: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        return self.left(x).relu_().add_(1).mul_(self.right(z).tanh_())


class Tied(nn.Module):
    """The first layer's weight is used once more, deeper, where it must still move."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.out = nn.Linear(32, 32), nn.Linear(32, 32), nn.Linear(32, 3)
        self.two.weight = self.one.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(torch.tanh(self.two(torch.tanh(self.one(x)))))


class Decodes(nn.Module):
    """A tied autoencoder, a penalty on all weights, a question about a weight's dtype: all see the point's weights."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.out = nn.Linear(32, 16), nn.Linear(32, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = torch.tanh(self.one(x.to(self.one.weight.dtype)))
        penalty = sum(p.square().sum() for p in self.parameters())
        return self.out(hidden @ self.one.weight) + torch.stack([1e-4 * penalty, 0 * penalty, 0 * penalty])


class Whispers(nn.Module):
    """What it detached counts for next to nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.out = nn.Linear(32, 32), nn.Linear(32, 3), nn.Linear(32, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.one(x)
        return self.out(hidden) + 1e-6 * self.two(hidden.detach())


class Thinned(nn.Module):
    """Its first layer is a 1x1 convolution with a stride, and has a hook."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.out = nn.Conv2d(2, 4, 1, stride=2), nn.Linear(16, 3)
        self.one.register_forward_hook(lambda _layer, _args, output: output + 1e-5 * output.sin())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.one(x.view(-1, 2, 4, 4)).flatten(1))


def loss_of(module: nn.Module, inputs: int) -> Loss:
    g = torch.Generator().manual_seed(0)
    data = [torch.randn(12, 32, generator=g, dtype=torch.float64) for _ in range(inputs)]
    return Loss.from_module(module.double(), (*data, torch.randint(0, 3, (12,), generator=g)))


def brute(loss: Loss, pair: list, table: np.ndarray) -> np.ndarray:
    return np.array([float(loss(moved(loss.params, pair, row)).detach()) for row in table])


@pytest.mark.parametrize(
    ("module", "inputs"),
    [(Detached, 1), (Siamese, 2), (InPlace, 2), (Tied, 1), (Rereads, 1), (Decodes, 1), (Whispers, 1), (Thinned, 1)],
)
def test_a_grid_is_right_whatever_the_module_does(module: type[nn.Module], inputs: int) -> None:
    torch.manual_seed(0)
    loss = loss_of(module(), inputs)
    pair = landscape.directions(loss, 2, normalization=None)
    table = grids.pairs_of(np.linspace(-1, 1, 5), np.linspace(-1, 1, 5))
    np.testing.assert_allclose(loss.along(pair, table).numpy(), brute(loss, pair, table), rtol=1e-10)


def test_a_separable_plane_survives_work_in_place() -> None:
    torch.manual_seed(0)
    loss = loss_of(InPlace(), 2)
    a = np.linspace(-1, 1, 5)
    pair = [landscape.directions(loss, 1, seed=i, params=m)[0] for i, m in enumerate(("left", "right"))]
    fast = grids.separable_plane(loss, pair, a)
    assert fast is not None
    np.testing.assert_allclose(fast.ravel(), brute(loss, pair, grids.pairs_of(a, a)), rtol=1e-10)


@pytest.mark.parametrize(
    ("module", "inputs", "names"), [(Detached, 1, ("one", "two")), (Siamese, 2, ("shared", "head"))]
)
def test_a_plane_that_is_not_separable_is_left_to_brute_force(
    module: type[nn.Module], inputs: int, names: tuple[str, str]
) -> None:
    loss = loss_of(module(), inputs)
    pair = [landscape.directions(loss, 1, seed=i, params=m)[0] for i, m in enumerate(names)]
    assert grids.separable_plane(loss, pair, np.linspace(-1, 1, 3)) is None
    plane = landscape.modality_plane(loss, *names, points=3, directions=pair)
    table = grids.pairs_of(plane.a.values, plane.b.values)
    np.testing.assert_allclose(plane.values.ravel(), brute(loss, pair, table), rtol=1e-10)


def test_first_layers_are_found_and_inner_ones_are_not() -> None:
    module = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3))
    x = torch.randn(2, 32)
    found = standins.known_inputs(module, lambda: module(x), {"0": module[0], "2": module[2]})
    assert list(found) == ["0"]
    assert list(standins.affine_candidates(module, lambda: module(x))) == ["0"]
    assert [p.requires_grad for p in module.parameters()] == [True] * 4


class Flattens(nn.Module):
    """Insists on the layout of what its convolution gives."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.out = nn.Conv2d(3, 4, 3), nn.Linear(64, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.conv(x).view(len(x), -1))


def pictures(module: nn.Module) -> Loss:
    g = torch.Generator().manual_seed(0)
    return Loss.from_module(module, (torch.randn(12, 3, 6, 6, generator=g), torch.randint(0, 3, (12,), generator=g)))


def perceptron() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(108, 20), nn.ReLU(), nn.Linear(20, 20), nn.ReLU(), nn.Dropout(), nn.Linear(20, 3)
    )


class Shortcut(nn.Module):
    """A residual block: a strided 1x1 convolution beside a 3x3 one."""

    def __init__(self, norm: nn.Module | None = None) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), norm or nn.BatchNorm2d(8), nn.ReLU())
        self.beside = nn.Conv2d(3, 8, 1, stride=2)
        self.out = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out((self.body(x) + self.beside(x)).mean((2, 3)))


@pytest.mark.parametrize("make", [Flattens, perceptron, Shortcut, lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))])  # fmt: skip
def test_a_private_copy_is_faster_and_gives_the_same(make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standins, "LEAST_FAN_IN", 64)
    loss = pictures(make())
    before = {name: p.clone() for name, p in loss.module.state_dict().items()}
    pair = landscape.directions(loss, 2)
    table = [[a, b] for a in (-1.0, 0.0, 0.5) for b in (-1.0, 0.0, 0.3, 1.0)]
    expected = [float(loss(moved(loss.params, pair, point)).detach()) for point in table]
    np.testing.assert_allclose(loss.along(pair, table), expected, rtol=1e-4)
    np.testing.assert_allclose(loss.along(pair, table[:3]), expected[:3], rtol=1e-4)  # too few for one buffer
    for name, p in loss.module.state_dict().items():
        torch.testing.assert_close(p, before[name], rtol=0, atol=0)


def test_what_moves_no_more_stands_at_theta_again() -> None:
    loss = pictures(perceptron())
    (whole,) = landscape.directions(loss, 1)
    table = [[c] for c in np.linspace(-1, 1, 9)]
    parts = [{name: part} for name, part in whole.items()]
    alone = [loss.along([part], table) for part in (whole, *parts)]
    with loss.scratch():
        for part, expected in zip((whole, *parts), alone, strict=True):
            torch.testing.assert_close(loss.along([part], table), expected, rtol=1e-6, atol=0)


def test_vision_models_of_transformers_ask_their_first_layer_for_its_dtype(monkeypatch: pytest.MonkeyPatch) -> None:
    import transformers as tf

    monkeypatch.setattr(standins, "LEAST_FAN_IN", 64)
    small = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    sees = {**small, "image_size": 8, "patch_size": 4, "projection_dim": 6}
    reads = {**small, "vocab_size": 9, "max_position_embeddings": 6, "eos_token_id": 3, "bos_token_id": 2}
    torch.manual_seed(0)
    pictures, texts = torch.randn(6, 3, 8, 8, dtype=torch.float64), torch.arange(30).view(6, 5) % 9
    vit = tf.ViTForImageClassification(tf.ViTConfig(**small, image_size=8, patch_size=4, num_labels=2)).double()
    clip = tf.CLIPModel(tf.CLIPConfig(text_config=reads, vision_config=sees, projection_dim=6)).double()
    for model, batch in (
        (vit, {"pixel_values": pictures, "labels": torch.arange(6) % 2}),
        (clip, {"input_ids": texts, "pixel_values": pictures, "return_loss": True}),
    ):
        loss = Loss.from_module(model, batch)
        pair = landscape.directions(loss, 2)
        table = grids.pairs_of(np.linspace(-1, 1, 3), np.linspace(-1, 1, 3))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "loss is not a mean over the rows")  # clip compares all pairs of a batch
            seen = loss.along(pair, table).numpy()
        np.testing.assert_allclose(seen, brute(loss, pair, table), rtol=1e-6)
