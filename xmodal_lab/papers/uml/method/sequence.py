"""Self-supervised UML (Alg 1): one causal transformer predicts the next step of every modality's sequences.

    z_m = f_m(x_m),   y_m = g_m(h(z_m)),   loss = mean (y_m[:, :-1] - x_m[:, 1:])² summed over m with weight λ

f_m and g_m are linear, h is shared. Afterwards the outputs of h are averaged over the steps and a linear probe reads
the class (App B.4.1). The unimodal baseline is the same net trained on the target alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ....data.samples import Dataset
from ....training.loop import train
from ....utils import checks as check
from ....utils.torch_state import seeded


@dataclass(frozen=True)
class Sequences:
    """Settings of self-supervised UML.

    Attributes:
        target: modality that is probed; ``auxiliary``: the unpaired others. None: the unimodal baseline.
        width, layers, heads: of the shared transformer (App B.4.1: 10 to 300, 5 and 5; ours: small).
        steps, batch_size, lr: of Adam (paper: 100 epochs, lr .01 to .0001); 0 steps: the net as it starts.
        lam: weight of the auxiliary losses.
        start: steps on the target alone before the others join (paper: 0, 30, 50 or 70 epochs).
        seed: of start and batches.

    Raises:
        ValueError: a width that the heads do not divide.
    """

    target: str = "image"
    auxiliary: tuple[str, ...] = ("audio",)
    width: int = 20
    layers: int = 2
    heads: int = 5
    steps: int = 200
    batch_size: int = 32
    lr: float = 3e-3
    lam: float = 1.0
    start: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("width", "layers", "heads", "batch_size"):
            check.integer(name, getattr(self, name), at_least=1)
        check.positive("lr", self.lr)
        check.non_negative("lam", self.lam)
        for name in ("steps", "start"):
            check.integer(name, getattr(self, name), at_least=0)
        if self.width % self.heads:
            raise ValueError(f"width must be a multiple of heads, got {self.width} and {self.heads}.")
        if self.target in self.auxiliary:
            raise ValueError(f"the target {self.target!r} is also an auxiliary; name others, or none.")


class SharedTransformer(nn.Module):
    """Linear encoder and decoder for each modality around one causal transformer.

    Args:
        sizes: modality -> numbers per step.
        longest: steps of the longest sequence.
        s: width, layers and heads.
    """

    def __init__(self, sizes: Mapping[str, int], longest: int, s: Sequences) -> None:
        super().__init__()
        self.encode = nn.ModuleDict({m: nn.Linear(d, s.width) for m, d in sizes.items()})
        self.decode = nn.ModuleDict({m: nn.Linear(s.width, d) for m, d in sizes.items()})
        layer = nn.TransformerEncoderLayer(s.width, s.heads, 4 * s.width, 0.0, batch_first=True, norm_first=True)
        self.shared = nn.TransformerEncoder(layer, s.layers, enable_nested_tensor=False)
        self.places = nn.Parameter(0.02 * torch.randn(longest, s.width))

    def states(self, modality: str, x: Tensor) -> Tensor:
        """Outputs of h (n, T, width) for sequences (n, T, d)."""
        z = self.encode[modality](x) + self.places[: x.shape[1]]
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1], device=x.device, dtype=x.dtype)
        out: Tensor = self.shared(z, mask=mask, is_causal=True)
        return out

    def loss(self, modality: str, x: Tensor) -> Tensor:
        """Mean squared error of the next step."""
        predicted = self.decode[modality](self.states(modality, x))
        return ((predicted[:, :-1] - x[:, 1:]) ** 2).mean()


@dataclass(frozen=True, eq=False)
class Learned:
    """What self-supervised training gave: the net, the linear probe's accuracies, and the last losses."""

    net: SharedTransformer
    accuracy: float
    val_accuracy: float
    losses: Mapping[str, float]


def as_sequence(x: Tensor, patch: int | None = None) -> Tensor:
    """Any input as steps (n, T, d): sequences (n, T, d) stay, pictures (n, C, H, W) become patches or columns.

    Args:
        x: (n, T, d) as in MultiBench's files, (n, C, H, W), or a vector (n, d), which is one step of each number.
        patch: side of square patches, row by row; None: one step per column (time, in a spectrogram).

    Raises:
        ValueError: another shape, a patch that does not divide the picture, fewer than two steps.
    """
    if x.ndim == 2:
        x = x[..., None]
    elif x.ndim == 4 and patch is None:
        x = x.permute(0, 3, 1, 2).flatten(2)
    elif x.ndim == 4:
        n, c, high, wide = x.shape
        if patch is None or high % patch or wide % patch:
            raise ValueError(f"patches of side {patch} do not divide pictures of {high} by {wide}.")
        x = (
            x.view(n, c, high // patch, patch, wide // patch, patch)
            .permute(0, 2, 4, 1, 3, 5)
            .reshape(n, -1, c * patch**2)
        )
    elif x.ndim != 3:
        raise ValueError(f"a sequence is (n, T, d), a picture (n, C, H, W); got shape {tuple(x.shape)}.")
    if x.shape[1] < 2:
        raise ValueError("predicting the next step needs sequences of at least 2 steps.")
    return x


def learn(dataset: Dataset, s: Sequences, patches: Mapping[str, int] | None = None) -> Learned:
    """Train on the unpaired training rows of each modality, then probe the target with logistic regression.

    Labels are used by the probe alone. Inputs are standardised, one number each per modality.

    Args:
        dataset: any; present inputs of each modality as :func:`as_sequence` takes them. Rows are never paired.
        s: settings.
        patches: modality -> side of its patches.

    Raises:
        ValueError: an unknown modality, inputs that are no sequences.
    """
    from sklearn.linear_model import LogisticRegression

    names = (s.target, *s.auxiliary)
    for m in names:
        check.one_of("modality", m, dataset.modalities)
    x = {m: as_sequence(dataset.train.inputs[m][dataset.train.present[m]], (patches or {}).get(m)) for m in names}
    scale = {m: (v.mean(), v.std() + 1e-6) for m, v in x.items()}
    x = {m: (v - scale[m][0]) / scale[m][1] for m, v in x.items()}
    draw = torch.Generator().manual_seed(s.seed)
    with seeded(s.seed):
        # Every modality of the dataset gets its layers, so that the baseline starts at the same weights.
        net = SharedTransformer({m: v.shape[2] for m, v in x.items()}, max(v.shape[1] for v in x.values()), s)
    losses: dict[str, float] = {}

    def loss_at(step: int) -> Tensor:
        total = torch.zeros(())
        for m in names if step >= s.start else names[:1]:
            rows = torch.randint(len(x[m]), (min(s.batch_size, len(x[m])),), generator=draw)
            loss = net.loss(m, x[m][rows])
            losses[m] = float(loss.detach())
            total = total + (loss if m == s.target else s.lam * loss)
        return total

    train(torch.optim.Adam(net.parameters(), s.lr), loss_at, s.steps)
    net.eval()
    found = {}
    for split, samples in dataset.splits.items():
        here = samples.present[s.target] & (samples.labels >= 0)
        z = as_sequence(samples.inputs[s.target][here], (patches or {}).get(s.target))
        with torch.no_grad():
            z = net.states(s.target, (z - scale[s.target][0]) / scale[s.target][1]).mean(1)
        found[split] = (z.double().numpy(), samples.labels[here].numpy())
    mean, sd = found["train"][0].mean(0), found["train"][0].std(0) + 1e-9
    probe = LogisticRegression(max_iter=1000).fit((found["train"][0] - mean) / sd, found["train"][1])
    score = {split: float(probe.score((z - mean) / sd, y)) for split, (z, y) in found.items()}
    return Learned(net, score["test"], score.get("val", float("nan")), losses)
