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
