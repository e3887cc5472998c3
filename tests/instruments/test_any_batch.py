"""Attack and evaluate anyone's module on anyone's batch: the same numbers as by hand, no wrapper of the user's."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import xmodal_lab as xl

X, Y = torch.randn(12, 5, generator=torch.Generator().manual_seed(0)), torch.arange(12) % 3
NET = nn.Linear(5, 3)
CE = nn.functional.cross_entropy


class ByName(nn.Module):
    """As ``transformers`` nets: names in, an object with logits out."""

    def __init__(self) -> None:
        super().__init__()
        self.head = NET

    def forward(
        self, touch: torch.Tensor, scale: torch.Tensor | None = None, labels: object = None
    ) -> dict[str, object]:
        assert labels is None  # the target is no input
        return {"loss": None, "logits": self.head(touch if scale is None else touch * scale)}


class OfTwo(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = NET

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, str]:
        return self.head(a + b), "more"


def by_hand(eps: float) -> torch.Tensor:
    """One step of length eps along the sign of the gradient of the summed cross-entropy."""
    x = X.clone().requires_grad_()
    (g,) = torch.autograd.grad(CE(NET(x), Y, reduction="sum"), x)
    return X + eps * g.sign()


@pytest.mark.parametrize(
    ("module", "data", "modality"),
    [
        (NET, (X, Y), "input"),
        (NET, DataLoader(TensorDataset(X, Y), batch_size=5), "input"),
        (ByName(), {"touch": X, "labels": Y}, "touch"),
        (
            ByName(),
            [
                {"touch": X[:7], "scale": torch.ones(7, 1), "y": Y[:7]},
                {"touch": X[7:], "scale": torch.ones(5, 1), "y": Y[7:]},
            ],
            "touch",
        ),
        (OfTwo(), (X, torch.zeros(12, 5), Y), "input_0"),
    ],
)
@pytest.mark.parametrize("criterion", [None, CE])
def test_one_step_is_the_step_by_hand_however_the_batch_comes(module, data, modality, criterion) -> None:
    attack = xl.robustness.pgd(module, data, modality, eps=0.1, step=0.1, iterations=1, criterion=criterion)
    torch.testing.assert_close(attack.inputs[modality], by_hand(0.1))
    assert attack.adversarial_loss == pytest.approx(float(CE(NET(by_hand(0.1)), Y).detach()))
    assert xl.robustness.evaluate_under(module, data).loss == pytest.approx(attack.clean_loss)


def test_words_in_place_of_places_and_a_dict_of_inputs() -> None:
    class OfDict(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = NET

        def forward(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
            return self.head(inputs["x"])

    attack = xl.robustness.pgd(model=OfDict(), samples=({"x": X}, Y), modality="x", eps=0.1, step=0.1, iterations=1)
    torch.testing.assert_close(attack.inputs["x"], by_hand(0.1))


@pytest.fixture(scope="module")
def bert():
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=11, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, num_labels=3,
        max_position_embeddings=8,
    )  # fmt: skip
    return transformers.BertForSequenceClassification(config)


def test_a_transformer_is_attacked_on_its_embeddings(bert) -> None:
    ids = torch.randint(1, 11, (12, 6), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[:, 4:] = 0
    batch = {"input_ids": ids, "attention_mask": mask, "labels": Y}
    before = {name: value.clone() for name, value in bert.state_dict().items()}
    attack = xl.robustness.pgd(bert, batch, "inputs_embeds", eps=0.2, iterations=3)
    bert.eval()
    with torch.no_grad():
        clean = float(bert(**batch).loss)
        after = float(bert(inputs_embeds=attack.inputs["inputs_embeds"], attention_mask=mask, labels=Y).loss)
    assert attack.clean_loss == pytest.approx(clean, rel=1e-4) and attack.adversarial_loss == pytest.approx(
        after, rel=1e-4
    )
    assert after > clean and attack.max_perturbation == pytest.approx(0.2, rel=1e-4)
    moved = attack.inputs["inputs_embeds"] - bert.get_input_embeddings()(ids).detach()
    assert float(moved[:, 4:].abs().max()) == 0 < float(moved[:, :4].abs().min(-1).values.max())  # padding has no say
    assert all(torch.equal(value, before[name]) for name, value in bert.state_dict().items())
    with pytest.raises(TypeError, match="token ids"):
        xl.robustness.pgd(bert, batch, "input_ids", eps=0.1)


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ({"touch": X}, ValueError, "the batch has no target; it holds touch"),
        ([(X, Y), (X[:, :4], Y)], ValueError, "pad the batches to one length"),
        (({"x": [1.0]}, Y), TypeError, "'x' of a batch must be a tensor, got list"),
    ],
)
def test_a_batch_that_cannot_be_read_says_why(data, error, message) -> None:
    with pytest.raises(error, match=message):
        xl.robustness.pgd(NET, data, "touch", eps=0.1)


@pytest.mark.parametrize("hides", [Tensor.detach, lambda x: (4 * x).round() / 4])
def test_an_attack_that_finds_no_gradient_where_the_loss_moves_is_told(hides: Callable[[Tensor], Tensor]) -> None:
    """It went nowhere, and the net looked perfectly robust."""

    class Hides(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.layer = nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(hides(x))

    batch = torch.randn(10, 6, generator=torch.Generator().manual_seed(0)), torch.arange(10) % 3
    with pytest.warns(UserWarning, match="no row has a gradient in input, though the loss moves with it"):
        assert xl.robustness.pgd(Hides(), batch, "input", eps=0.5, iterations=3).blind == 1
    deaf = nn.Sequential(nn.Linear(6, 3), nn.Hardtanh(-1e-3, 1e-3), nn.Threshold(9.0, 0.0))
    assert xl.robustness.pgd(deaf, batch, "input", eps=0.5, iterations=3).blind == 1  # its outputs do not move


# -- everything else on any batch ----------------------------------------------------------------------


def test_a_report_on_any_batch_has_the_rows_of_the_same_net_on_samples() -> None:
    class OfDict(nn.Module):
        modalities = ("touch",)

        def __init__(self) -> None:
            super().__init__()
            self.head = NET

        def forward(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
            return self.head(inputs["touch"])

    options = {"attacks": {"touch": {"eps": 0.1, "iterations": 2}}, "missing": (0.5,), "noise": (0.5,)}
    expected = xl.robustness.report(OfDict(), xl.Samples({"touch": X}, Y), **options)
    for data in ({"touch": X, "labels": Y}, [{"touch": X[:5], "y": Y[:5]}, {"touch": X[5:], "y": Y[5:]}]):
        found = xl.robustness.report(ByName(), data, **options)
        assert found.equals(expected)


def test_masks_are_not_tried_and_come_back_as_they_were(bert) -> None:
    ids = torch.randint(1, 11, (12, 6), generator=torch.Generator().manual_seed(1))
    batch = {
        "input_ids": ids, "attention_mask": (ids > 3).long(), "token_type_ids": (ids > 6).long(),
        "position_ids": torch.arange(6).repeat(12, 1), "labels": Y,
    }  # fmt: skip
    table = xl.robustness.report(bert, batch, modalities="inputs_embeds", attacks={"inputs_embeds": {"eps": 0.1}})
    with torch.no_grad():
        clean = float(bert.eval()(**batch).loss)
    assert set(table["modality"]) == {"", "inputs_embeds"} and table["loss"][0] == pytest.approx(clean, rel=1e-4)
    assert list(table["condition"]) == ["clean", "noise", "missing", "pgd"]
    assert set(xl.robustness.report(bert, batch, noise=())["modality"]) == {"", "input_ids"}
    seen = xl.look(bert, batch, landscape=3, missing=0.5, eigenvalues=1)
    assert list(seen.modality.values) == ["input_ids"] and float(seen.loss) == pytest.approx(clean, rel=1e-4)


SEQUENCES = torch.randint(0, 3, (12, 4), generator=torch.Generator().manual_seed(2))


class Tagger(nn.Module):
    """Logits (N, T, C): a target that is no label."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Linear(5, 12)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(x).view(-1, 4, 3)


def per_token(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return CE(outputs.flatten(0, 1), targets.flatten())


def test_a_criterion_judges_targets_that_are_no_labels() -> None:
    net, data = Tagger(), DataLoader(TensorDataset(X, SEQUENCES), batch_size=5)
    truth = float(per_token(net(X), SEQUENCES).detach())
    found = xl.robustness.evaluate_under(net, data, criterion=per_token)
    assert found.loss == pytest.approx(truth) and found.accuracy == -found.loss
    attack = xl.robustness.pgd(net, data, "input", eps=0.1, step=0.1, iterations=1, criterion=per_token)
    x = X.clone().requires_grad_()
    (g,) = torch.autograd.grad(per_token(net(x), SEQUENCES), x)
    torch.testing.assert_close(attack.inputs["input"], X + 0.1 * g.sign())
    assert attack.clean_loss == pytest.approx(truth) and attack.adversarial_loss > truth
    table = xl.robustness.report(net, data, criterion=per_token, attacks={"input": {"eps": 0.1}})
    assert table["loss"][0] == pytest.approx(truth) and table["drop"].iloc[-1] > 0
    seen = xl.look(net, data, criterion=per_token, landscape=3, eigenvalues=1, pgd=[0.1], noise=0.5)
    assert float(seen.landscape[1, 1]) == pytest.approx(truth, rel=1e-5) == float(seen.loss)
    assert seen.attrs["why"] == "{}" and float(seen.pgd[0, 0]) < -truth
    with pytest.raises(ValueError, match=r"labels must have shape \(N,\)"):
        xl.robustness.evaluate_under(net, data)


class Pair(nn.Module):
    """Two towers without any word of ours."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.eye, self.ear, self.head = nn.Linear(5, 4), nn.Linear(3, 4), nn.Linear(4, 3)

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return self.head(self.eye(a) + self.ear(b))


B = torch.randn(12, 3, generator=torch.Generator().manual_seed(3))
TOWERS = {"image": "eye", "sound": "ear"}


def test_the_gap_of_any_module_is_that_between_the_named_submodules() -> None:
    net = Pair()
    with torch.no_grad():
        truth = xl.transport.modality_gap(net.eye(X), net.ear(B))
    loader = DataLoader(TensorDataset(X, B, Y), batch_size=5)
    assert xl.transport.modality_gaps(net, loader, TOWERS)[("image", "sound")].w2_squared == pytest.approx(
        truth.w2_squared, rel=1e-5
    )
    assert xl.transport.modality_gaps(net, {"a": X, "b": B}, TOWERS)[("image", "sound")].w2_squared == pytest.approx(
        truth.w2_squared, rel=1e-5
    )
    seen = xl.look(net, (X, B, Y), latents=TOWERS, gap=True, missing=0.5)
    assert float(seen.w2) ** 2 == pytest.approx(truth.w2_squared, rel=1e-5) and float(seen.distance) > 0
    assert not any(module._forward_hooks for module in net.modules())
    with pytest.raises(ValueError, match="unknown submodule 'nose'; known: 'eye', 'ear', 'head'"):
        xl.transport.modality_gaps(net, loader, {"image": "eye", "sound": "nose"})
    with pytest.raises(TypeError, match="name a submodule for each modality"):
        xl.transport.modality_gaps(net, loader)
    assert "name a submodule" in xl.look(net, (X, B, Y), gap=True).attrs["why"]


def test_a_gap_of_a_late_fusion_net_is_that_of_its_latents() -> None:
    ds = xl.load("shapes", modalities=("image", "audio"), n_train=20, n_test=12)
    net = xl.LateFusion.for_dataset(ds, architecture="mlp")
    with torch.no_grad():
        z = net.latents(ds.test.inputs)
    truth = xl.transport.modality_gap(z["image"], z["audio"])
    found = xl.transport.modality_gaps(net, ds.test)[("image", "audio")]
    assert found.w2_squared == pytest.approx(truth.w2_squared, rel=1e-5)
    by_place = {"image": "encoders.image", "audio": "encoders.audio"}
    assert xl.transport.modality_gaps(net, ds.test, by_place)[("image", "audio")].centroid_gap > 0
