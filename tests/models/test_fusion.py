from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch.func import functional_call, hessian
from torch.testing import assert_close
from worlds import toy

import xmodal_lab as xl
from xmodal_lab.models.encoders import ConvEncoder, MLPEncoder, encoder
from xmodal_lab.models.fusion import FUSIONS, Additive


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("modalities", [("image",), ("image", "audio")])
def test_every_fusion_gives_logits_and_second_derivatives(fusion: str, modalities: tuple[str, ...]) -> None:
    ds = toy()
    net = xl.LateFusion.for_dataset(ds, modalities, fusion, width=8, architecture="mlp").double()
    x = {m: v[:4].double() for m, v in ds.test.inputs.items()}
    assert net(x).shape == (4, 3)
    params = {k: p.detach() for k, p in net.named_parameters() if k.startswith("head.bias")}

    def loss(p: dict[str, torch.Tensor]) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(functional_call(net, p, (x,)), ds.test.labels[:4])

    h = hessian(loss)(params)["head.bias"]["head.bias"]
    probabilities = net(x).softmax(-1)  # Hessian of cross-entropy in the logits: mean of diag(p) - p pᵀ
    expected = (torch.diag_embed(probabilities) - probabilities[:, :, None] * probabilities[:, None]).mean(0)
    assert_close(h, expected.detach())


def test_an_absent_modality_is_zeros() -> None:
    ds = toy()
    net = xl.LateFusion.for_dataset(ds, architecture="mlp").eval()
    x = {m: v[:5] for m, v in ds.test.inputs.items()}
    zeroed = net(x | {"audio": torch.zeros_like(x["audio"])})
    assert_close(net({"image": x["image"]}), zeroed)
    mask = torch.tensor([True, False, True, False, False])
    mixed = net(x, present={"audio": mask})
    assert_close(mixed[mask], net(x)[mask])
    assert_close(mixed[~mask], zeroed[~mask])


def test_parts_start_alike_whatever_else_the_net_has_and_the_global_generator_is_left_alone() -> None:
    ds = toy()
    torch.manual_seed(0)
    before = torch.get_rng_state()
    both, alone = xl.LateFusion.for_dataset(ds, seed=3), xl.LateFusion.for_dataset(ds, "image", seed=3)
    assert torch.equal(before, torch.get_rng_state())
    for name, p in alone.encoders["image"].named_parameters():
        assert_close(p, dict(both.encoders["image"].named_parameters())[name])
    other = xl.LateFusion.for_dataset(ds, "image", seed=4)
    assert not torch.equal(next(alone.parameters()), next(other.parameters()))


def test_additive_fusion_is_translation_invariant() -> None:
    u, v, tau = torch.randn(3, 6, 4, dtype=torch.float64)
    phi = Additive(4, 2)
    assert_close(phi([u, v + tau]), phi([u, v]) + tau)


def test_auto_picks_a_cnn_for_pictures_and_an_mlp_for_vectors() -> None:
    assert isinstance(encoder("image", (3, 32, 32)), ConvEncoder)
    assert isinstance(encoder("audio", (1, 32, 32)), ConvEncoder)
    assert isinstance(encoder("text", (384,)), MLPEncoder)
    for norm in ("group", "batch", "none"):
        assert encoder("image", (3, 32, 32), 16, norm=norm)(torch.randn(2, 3, 32, 32)).shape == (2, 16)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fusion": "concat"}, "unknown fusion 'concat'; known: 'additive', 'concat_linear'"),
        ({"modalities": ("image", "smell")}, "unknown modality 'smell'; known: 'image', 'audio'"),
        ({"modalities": ()}, "no modality was named"),
        ({"modalities": ("image", "image")}, "differ from each other"),
        ({"architecture": "vit"}, "unknown architecture"),
        ({"norm": "layer"}, "unknown norm"),
        ({"width": 0}, "width must be at least 1"),
        ({"fusion": "cross_attention", "width": 6}, "no multiple"),
        ({"seed": -1}, "seed must be at least 0"),
    ],
)
def test_bad_nets_say_what_is_wrong(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        xl.LateFusion.for_dataset(toy(), **change)


def test_inputs_without_any_known_modality() -> None:
    net = xl.LateFusion.for_dataset(toy())
    with pytest.raises(ValueError, match="inputs hold none of image, audio"):
        net({"text": torch.zeros(2, 3)})
    with pytest.raises(ValueError, match="use an MLPEncoder"):
        ConvEncoder((5,))


def test_the_net_has_the_dtype_of_its_dataset() -> None:
    single, double = (xl.LateFusion.for_dataset(ds) for ds in (toy(), toy().to(dtype=torch.float64)))
    assert {p.dtype for p in double.parameters()} == {torch.float64}
    for p, q in zip(single.parameters(), double.parameters(), strict=True):
        assert_close(p.double(), q, rtol=0, atol=0)


def test_threads_draw_the_weights_of_their_own_seed() -> None:
    ds = toy()
    with ThreadPoolExecutor(8) as pool:
        nets = list(pool.map(lambda seed: xl.LateFusion.for_dataset(ds, width=8, seed=seed % 4), range(32)))
    for seed in range(4):
        alone = dict(xl.LateFusion.for_dataset(ds, width=8, seed=seed).state_dict())
        for net in nets[seed::4]:
            assert_close(dict(net.state_dict()), alone, rtol=0, atol=0)


def test_a_dataset_without_labels_says_so() -> None:
    ds = xl.load("gaussian", n_x=20, n_y=20, n_test=10)
    with pytest.raises(ValueError, match="gaussian has no labels, so a head has nothing to answer; give outputs="):
        xl.LateFusion.for_dataset(ds)
    assert xl.LateFusion.for_dataset(ds, outputs=3, architecture="mlp").modalities == ("x", "y")
