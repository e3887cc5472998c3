"""Three tasks on ``shapes``, which want different amounts of alignment, and four heads with the paper's metrics.

red     picture and caption both tell the colour: redundant, either will do
both    a bit of the picture and a bit of the caption together tell the label: neither alone does
wrong   as red, but half of the captions' colour words are drawn anew: the modalities disagree
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from ...data import datasets
from ...data.labels import task_of
from ...data.samples import Dataset, Samples
from ...instruments import metrics
from ...models.one_tower import with_tokens
from ...utils import checks as check

TASKS = ("red", "both", "wrong")
HEADS = ("binary", "multilabel", "regression", "classes")
TAGS = "tags"
# sd of the pixels' noise by task: at this noise the picture helps but does not settle it alone (ours).
IMAGE_NOISE = {"red": 1.0, "both": 0.6, "wrong": 1.0}
# Share of captions whose colour word is the true one.
TRUE_WORDS = {"red": 1.0, "both": 1.0, "wrong": 0.5}
WARM = (0, 3)  # red, yellow
# A value for each colour and each opening, mean 0 and sd 1: what the regression heads must tell.
COLOR_VALUE = torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0]) / 2**0.5
OPENING_VALUE = torch.tensor([-5.0, -3.0, -1.0, 1.0, 3.0, 5.0]) / (35 / 3) ** 0.5


@dataclass(frozen=True)
class Head:
    """What is predicted, with which loss, and by which of the paper's metrics it is judged (wma Sec 4.1).

    Attributes:
        name: one of ``HEADS``.
        metric: "AUROC", "F1" or "MAE".
        sign: +1 where more is better, -1 for MAE.
        targets: samples -> targets, (N,) or (N, T).
        loss: logits (N, C), targets -> scalar.
        score: logits (N, C), targets -> the metric.
    """

    name: str
    metric: str
    sign: int
    targets: Callable[[Samples], Tensor]
    loss: Callable[[Tensor, Tensor], Tensor]
    score: Callable[[Tensor, Tensor], float]

    def outputs(self, dataset: Dataset) -> int:
        """How many logits."""
        if self.name == "classes":
            return len(dataset.classes) or int(dataset.train.labels.max()) + 1
        return self.targets(dataset.train).shape[1] if self.name == "multilabel" else 1


def _labels(samples: Samples) -> Tensor:
    return samples.labels


def _tags(samples: Samples) -> Tensor:
    if task_of(samples.labels) == "labels":
        return samples.labels.float()
    tags = (samples.latents or {}).get(TAGS)
    if tags is None or tags.ndim != 2:
        raise ValueError(f"a multilabel head needs latents[{TAGS!r}] of shape (N, T) with 0 and 1 in every split.")
    return tags.float()


def _f1(logits: Tensor, targets: Tensor) -> float:
    """Mean over labels of F1 at probability ½."""
    from sklearn.metrics import f1_score

    return float(f1_score(targets.cpu().numpy() > 0, logits.cpu().numpy() > 0, average="macro", zero_division=0.0))


def _area(logits: Tensor, labels: Tensor) -> float:
    """AUROC of each class against the rest, mean over the classes that the split has: real ones may lack a rare one."""
    there = torch.bincount(labels, minlength=logits.shape[1]) > 0
    if bool(there.all()):
        return metrics.auroc(logits, labels)
    areas = [metrics.auroc(_log_odds(logits, c), (labels == c).long()) for c in there.nonzero().flatten().tolist()]
    return float(sum(areas) / len(areas))


def _log_odds(logits: Tensor, c: int) -> Tensor:
    """z_c - log Σ_{k≠c} e^{z_k}, by which rows of one class are ranked (N,)."""
    rest = torch.cat([logits[:, :c], logits[:, c + 1 :]], 1)
    return logits[:, c] - rest.logsumexp(1)


HEAD = {
    "binary": Head(
        "binary", "AUROC", 1, _labels,
        lambda z, y: F.binary_cross_entropy_with_logits(z[:, 0], y.to(z)), lambda z, y: metrics.auroc(z[:, 0], y),
    ),
    "classes": Head("classes", "AUROC", 1, _labels, F.cross_entropy, _area),
    "multilabel": Head(
        "multilabel", "F1", 1, _tags, lambda z, y: F.binary_cross_entropy_with_logits(z, y.to(z)), _f1
    ),
    "regression": Head(
        "regression", "MAE", -1, _labels,
        lambda z, y: F.l1_loss(z[:, 0], y.to(z)), lambda z, y: float(F.l1_loss(z[:, 0], y.to(z))),
    ),
}  # fmt: skip


def head_of(dataset: Dataset) -> str:
    """The head that a dataset of one's own asks for: by its tags, several classes a row, real labels, or classes.

    Raises:
        ValueError: several real values a row.
    """
    check.instance("dataset", dataset, Dataset, "or None for the shapes world")
    if dataset.task == "values" and dataset.train.labels.ndim > 1:
        raise ValueError(
            f"a regression head tells one real value a row; {dataset.name!r} has {dataset.train.labels.shape[1]}."
        )
    if dataset.task == "labels" or TAGS in (dataset.train.latents or {}):
        return "multilabel"
    if dataset.train.labels.is_floating_point():
        return "regression"
    count = len(dataset.classes) or int(dataset.train.labels.max()) + 1
    return "binary" if count == 2 else "classes"


def world(
    task: str,
    head: str = "binary",
    modalities: tuple[str, ...] = ("image", "text"),
    n_train: int = 800,
    n_val: int = 400,
    n_test: int = 800,
    seed: int = 0,
) -> Dataset:
    """A task on ``shapes``, with captions as token ids.

    Args:
        task: "red", "both" or "wrong".
        head: "binary", "multilabel", "regression"; "classes" tells the five colours (not in task both).
        modalities: "image" and "text", or with "audio", whose pitch tells the colour.
        n_train, n_val, n_test: sizes (800 training pairs: ours; few, so that robustness can differ).
        seed: of the draw.

    Returns:
        The dataset, with a validation split and token ids.

    Raises:
        ValueError: an unknown task or head, a head that the task does not have.
    """
    check.one_of("task", task, TASKS)
    check.one_of("head", head, HEADS)
    if (task, head) == ("both", "classes"):
        raise ValueError("task 'both' has two classes only: use head 'binary', 'multilabel' or 'regression'.")
    names = (modalities,) if isinstance(modalities, str) else tuple(check.listed("modalities", modalities))
    sizes = {"n_train": n_train, "n_val": n_val, "n_test": n_test}
    sizes = {name: check.integer(name, value, at_least=1) for name, value in sizes.items()}
    for m in names:
        check.one_of("modality", m, ("image", "text", "audio"))
    return _made(task, head, names, **sizes, seed=check.integer("seed", seed, at_least=0))


@lru_cache(maxsize=32)
def _made(
    task: str, head: str, modalities: tuple[str, ...], n_train: int, n_val: int, n_test: int, seed: int
) -> Dataset:
    drawn = datasets.load(
        "shapes", label="color", n_train=n_train, n_val=n_val, n_test=n_test, modalities=modalities, seed=seed,
        image_noise=IMAGE_NOISE[task], sees={"text": {"color": TRUE_WORDS[task]}},
    )  # fmt: skip
    dataset = with_tokens(drawn)
    splits = {k: _labelled(s, task, head) for k, s in dataset.splits.items()}
    classes = {"classes": drawn.classes, "binary": ("no", "yes")}.get(head, ())
    facts = {**dataset.provenance, "task": task, "head": head}
    return replace(
        dataset, name=f"shapes {task}", train=splits["train"], val=splits["val"], test=splits["test"],
        classes=classes, provenance=facts,
    )  # fmt: skip


def _labelled(samples: Samples, task: str, head: str) -> Samples:
    """The samples with this task's labels for this head."""
    z = samples.latents or {}
    warm = torch.isin(z["color"], torch.tensor(WARM)).long()
    dark, opening = z["image_bit"].long(), z["opening"].long()
    if task == "both":
        # Each opening has three bits of its own; the picture's bit turns them all round.
        bits = torch.stack([opening >= 3, opening % 2 == 1, (opening % 3) == 0], 1).long()
        tags, value = bits ^ dark[:, None], OPENING_VALUE[opening] * (1 - 2 * dark)
        label = tags[:, 0]
    else:
        tags = torch.cat([F.one_hot(z["color"].long(), 5), F.one_hot(z["shape"].long(), 6)], 1)
        value, label = COLOR_VALUE[z["color"].long()], warm
    if head == "classes":
        label = z["color"].long()
    latents = {**z, TAGS: tags} if head == "multilabel" else z
    return replace(samples, labels=value.float() if head == "regression" else label, latents=latents)
