"""Projected gradient descent on the inputs of one or several modalities (dml App C.6).

x_{t+1} = Π_{B_ε(x)} ( x_t + α sign ∇_x L(f(x_t), y) ),   drop rate = (clean - perturbed) / clean
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from ...data.corruptions import generator
from ...data.samples import Samples
from ...losses.parameters import scalar
from ...losses.standins import answering
from ...models import objectives
from ...models.any_batch import on_samples
from ...models.coarse import single, single_samples
from ...models.evaluation import (
    answer,
    check_outputs,
    device_of,
    eval_mode,
    evaluation,
    outputs_of,
    seen_modalities,
)
from ...models.fusion import LateFusion
from ...models.objectives import loss_of, task_of
from ...utils import checks as check
from ...utils.graphs import Graphed
from ...utils.torch_state import full_precision, wide
from .balls import BALLS, row_norms

GRAPHED_FROM = 50  # steps of an attack from which on a CUDA graph of one pays (ours; not measured)

PGD_IMAGE: Mapping[str, Any] = MappingProxyType({"eps": 0.1, "step": 0.001, "iterations": 5})
"""dml Tab 11, image: ``pgd(model, samples, "image", **PGD_IMAGE)``.

It reaches 0.005, so eps never binds and pgd warns; without ``step`` it binds. The authors' code takes 10
steps on AVMNIST and none on CREMA-D; the latter is ``add_noise(samples, "image", 0.1)``.
"""

PGD_SPECTROGRAM: Mapping[str, Any] = MappingProxyType({"eps": 0.005, "step": 0.001, "iterations": 10})
"""dml Tab 11, spectrogram of KS, AVMNIST and CREMA-D: ``pgd(model, samples, "audio", **PGD_SPECTROGRAM)``."""


@dataclass(frozen=True, eq=False)
class Attack:
    """What :func:`pgd` returns.

    Attributes:
        samples: the samples with the attacked modalities perturbed; all else as it was.
        modalities: which were attacked, together.
        eps, step: radius of the ball and length of a step, by modality.
        iterations, norm, random_start, seed: as asked.
        clean_accuracy, adversarial_accuracy: before and after; minus the mean squared error
            for real-valued labels.
        clean_loss, adversarial_loss: mean over samples; of a criterion of one's own what it says of all of them.
        perturbation: modality -> the largest ‖x' - x‖ of a row, in ``norm``; never above eps.
        blind: share of the rows whose first gradient was exactly zero: the model ignores the modality
            there, or saturates. The attack cannot move them, which need not be robustness.
    """

    samples: Samples = field(repr=False)
    modalities: tuple[str, ...]
    eps: Mapping[str, float]
    step: Mapping[str, float]
    iterations: int
    norm: str
    random_start: bool
    seed: int
    clean_accuracy: float
    adversarial_accuracy: float
    clean_loss: float
    adversarial_loss: float
    perturbation: Mapping[str, float]
    blind: float

    @property
    def inputs(self) -> dict[str, Tensor]:
        """The adversarial inputs, modality -> (N, ...)."""
        return dict(self.samples.inputs)

    @property
    def drop(self) -> float:
        """Clean minus adversarial accuracy."""
        return self.clean_accuracy - self.adversarial_accuracy

    @property
    def drop_rate(self) -> float:
        """(clean - adversarial) / clean, 0.5 for half of it (dml App C.6, there in percent); NaN if clean is 0."""
        return relative_drop(self.drop, self.clean_accuracy)

    @property
    def max_perturbation(self) -> float:
        """The largest perturbation over the attacked modalities."""
        return max(self.perturbation.values())

    @property
    def reach(self) -> float:
        """How far the steps can carry, min(eps, step · iterations); the largest over the attacked modalities.

        A random start adds up to eps to that, without looking at the gradient.
        """
        return max(min(self.eps[m], self.step[m] * self.iterations) for m in self.modalities)


def relative_drop(drop: float, clean: float) -> float:
    """``drop`` in units of the clean score; NaN where that is 0."""
    return drop / abs(clean) if clean else math.nan


@full_precision()
def pgd(
    model: nn.Module,
    samples: Any,
    modality: str | Collection[str],
    eps: float | Mapping[str, float],
    step: float | Mapping[str, float] | None = None,
    iterations: int = 10,
    *,
    random_start: bool = False,
    norm: str = "linf",
    criterion: Callable[[Tensor, Tensor], Tensor] | None = None,
    clip: tuple[float, float] | Mapping[str, tuple[float, float]] | None = None,
    batch_size: int = 256,
    seed: int = 0,
) -> Attack:
    """Attack one modality, or several at once, and see what is left of the accuracy.

    The model is only looked at: in eval mode, without gradients in its parameters. The perturbation
    stays in its ball in exact arithmetic. Rows that lack an attacked modality keep lacking it.

    Args:
        model: a module from a dict of inputs to logits, such as :class:`~xmodal_lab.LateFusion`; any other beside a
            batch of its own.
        samples: a split of a dataset; or a batch or loader of what the model is called with: (x, y), where the
            modality is "input" ("input_0", "input_1" of several), (dict, y), or a dict with labels, whose names are
            the modalities ("pixel_values"; "inputs_embeds", also of a batch that holds input_ids). Inputs are
            attacked in the units they have here; the paper's eps is for values in [0, 1].
        modality: one name, or several for a joint attack with one ball for each.
        eps: radius of the ball, for all or by modality.
        step: α, for all or by modality. None: 2.5 eps / iterations, which reaches every point of the
            ball (Madry et al. 2018). With the paper's α for images it never binds (see :data:`PGD_IMAGE`).
        iterations: T (10, as for spectrograms in dml Tab 11).
        random_start: start at a random point of the ball instead of at x.
        norm: "linf" (per value; the paper's) or "l2" (per row, with normalised gradient steps).
        criterion: ``criterion(outputs, labels) -> scalar``, climbed; beside a batch its target may be any tensor with a
            row for each sample (then accuracy is minus the loss). None: cross-entropy, or squared error
            for real-valued labels. Cross-entropy is softplus(m) with m = log Σ_{c≠y} exp z_c - z_y, so its
            gradient in a row is m's times a positive number, and the steps are the same; m is what is
            climbed, since it does not underflow where the model is sure of itself.
        clip: (low, high) of valid inputs, for all attacked modalities or by modality; None for no limit.
        batch_size: rows per gradient (ours).
        seed: of the random start.

    Returns:
        :class:`Attack`, with ``.inputs``, ``.clean_accuracy``, ``.adversarial_accuracy``, ``.drop_rate``, ….

    Raises:
        ValueError: an unknown modality or norm, eps or step not above 0, iterations below 1, inputs
            outside ``clip``, unknown labels (-1), outputs or gradients that are NaN.
        TypeError: not a module, not samples, a criterion that returns no tensor.

    Warns:
        UserWarning: step · iterations < eps, so that eps has no effect; no row has a gradient, though the loss moves.

    Example:
        >>> import xmodal_lab as xl
        >>> ds = xl.load("shapes", modalities=("image", "audio"), n_train=20, n_test=10)
        >>> net = xl.LateFusion.for_dataset(ds, architecture="mlp")
        >>> attack = xl.robustness.pgd(net, ds.test, "image", eps=0.1, iterations=3)
        >>> round(attack.max_perturbation, 3), attack.adversarial_loss > attack.clean_loss
        (0.1, True)
    """
    model, samples, criterion = on_samples(model, samples, modality, criterion)
    seen = seen_modalities(model, samples)
    model, samples = single(model), single_samples(samples)
    names = check.modalities_of(modality, samples.modalities)
    _refuse_ids(samples, names)
    iterations = check.integer("iterations", iterations, at_least=1)
    batch_size = check.integer("batch_size", batch_size, at_least=1)
    seed = check.integer("seed", seed, at_least=0)
    ball = BALLS[check.one_of("norm", norm, BALLS)]
    radius = {m: check.positive(f"eps of {m!r}", v) for m, v in _by_modality("eps", eps, names).items()}
    if step is None:
        steps = {m: 2.5 * radius[m] / iterations for m in names}
    else:
        steps = {m: check.positive(f"step of {m!r}", v) for m, v in _by_modality("step", step, names).items()}
    limits = {m: _limits(m, v, samples) for m, v in _by_modality("clip", clip, names).items()}
    for m in names:
        _warn_if_eps_never_binds(m, radius[m], steps[m], iterations, random_start)

    climbed: Callable[[Tensor, Tensor], Tensor] = _climbed
    if criterion is not None:
        climbed = check.function("criterion", criterion, "from (outputs, labels) to a scalar")
    device = device_of(model, samples.labels.device)
    # Drawn at once, so that the start does not depend on the batch size or on what else is attacked.
    drawn = {m: ball.draw(tuple(samples.inputs[m].shape), generator(seed, "pgd", m)) for m in names if random_start}

    def climb(rows: slice) -> tuple[dict[str, Tensor], int]:
        """The rows' end points, and how many had no first gradient."""
        x = {m: samples.inputs[m][rows].to(device) for m in dict.fromkeys((*seen, *names))}
        labels = samples.labels[rows].to(device)
        balls = {m: ball(x[m], samples.present[m][rows].to(device), radius[m], steps[m], limits[m]) for m in names}
        points = {m: balls[m].start(drawn[m][rows]) if random_start else x[m] for m in names}
        with _encoded_once(model, {m: x[m] for m in seen if m not in names}):
            points, none = _ascended(model, {m: x[m] for m in seen}, points, labels, climbed, balls, iterations)
        return {m: points[m].to(samples.inputs[m].device) for m in names}, none

    with eval_mode(model), torch.inference_mode(False):  # there, a gradient is not an error but missing
        parts = [climb(slice(k, k + batch_size)) for k in range(0, len(samples), batch_size)]
        perturbed = {m: torch.cat([points[m] for points, _ in parts]) for m in names}
        attacked = replace(samples, inputs={**samples.inputs, **perturbed})
        clean, adversarial = (
            evaluation(outputs_of(model, {m: s.inputs[m] for m in seen}, batch_size, device), s.labels, criterion)
            for s in (samples, attacked)
        )
        blind = sum(none for _, none in parts) / len(samples)
        if blind == 1:
            shapes = {m: tuple(samples.inputs[m].shape) for m in names}
            away = {m: radius[m] * ball.draw(shape, generator(seed, "pgd", m)) for m, shape in shapes.items()}
            _warn_if_loss_moves(model, samples, away, seen, criterion, batch_size, device)
    moved = {m: wide(attacked.inputs[m]) - wide(samples.inputs[m]) for m in names}
    return Attack(
        samples=attacked, modalities=names, eps=radius, step=steps, iterations=iterations, norm=norm,
        random_start=random_start, seed=seed,
        clean_accuracy=clean.accuracy, adversarial_accuracy=adversarial.accuracy,
        clean_loss=clean.loss, adversarial_loss=adversarial.loss,
        perturbation={m: float(row_norms(away, norm).max()) for m, away in moved.items()},
        blind=blind,
    )  # fmt: skip


def _warn_if_loss_moves(
    model: nn.Module, samples: Samples, away: Mapping[str, Tensor], seen: Collection[str],
    criterion: Callable[[Tensor, Tensor], Tensor] | None, batch_size: int, device: torch.device,
) -> None:  # fmt: skip
    """Where no row has a gradient: whether the model is deaf to the modality, or only hides its gradient."""
    few = slice(0, batch_size)
    here = {m: samples.inputs[m][few] for m in seen}
    there = {m: x + away[m][few].to(x) if m in away else x for m, x in here.items()}
    one, other = (
        evaluation(outputs_of(model, views, batch_size, device), samples.labels[few], criterion).loss
        for views in (here, there)
    )
    if one != other:
        warnings.warn(
            f"no row has a gradient in {' and '.join(away)}, though the loss moves with it: something is detached, "
            "rounded or saturated. The attack went nowhere, and says nothing of robustness.",
            stacklevel=4,
        )


def _climbed(outputs: Tensor, labels: Tensor) -> Tensor:
    """Σ log Σ_{c≠y} exp z_c - z_y: rises with the cross-entropy of each row and never saturates."""
    if task_of(labels) != "classes" or outputs.shape[1] == 1:  # of a single class there is nothing to confuse
        return loss_of(outputs, labels, "sum")
    own = torch.zeros_like(outputs, dtype=torch.bool).scatter_(1, labels[:, None], True)
    return (outputs.masked_fill(own, -math.inf).logsumexp(1) - outputs.gather(1, labels[:, None])[:, 0]).sum()


def _ascended(
    model: nn.Module,
    inputs: dict[str, Tensor],
    points: dict[str, Tensor],
    labels: Tensor,
    climbed: Callable[[Tensor, Tensor], Tensor],
    balls: Mapping[str, Any],
    iterations: int,
) -> tuple[dict[str, Tensor], int]:
    """The points after all steps, and how many rows had no first gradient.

    On a GPU the first gradient is looked at, and at the end whether there was NaN in any: the host would wait for each.
    """
    names = list(points)

    def unlooked(*at: Tensor) -> tuple[Tensor, ...]:
        return tuple(_gradients(model, inputs, dict(zip(names, at, strict=True)), labels, climbed, False).values())

    gradients = _gradients(model, inputs, points, labels, climbed)
    none = int(torch.stack([row_norms(g, "linf") == 0 for g in gradients.values()]).all(0).sum())
    points = {m: balls[m].ascend(points[m], gradients[m]) for m in names}
    # A short attack is over before a graph of its step is recorded.
    repeated = Graphed(unlooked, "a step of an attack") if iterations >= GRAPHED_FROM else unlooked
    spoilt = [torch.zeros((), dtype=torch.bool, device=labels.device) for _ in names]
    for _ in range(1, iterations):
        if labels.device.type == "cpu":
            gradients = _gradients(model, inputs, points, labels, climbed)
        else:
            found = repeated(*points.values())
            assert found is not None
            gradients = dict(zip(names, found, strict=True))
            spoilt = [bad | g.isnan().any() for bad, g in zip(spoilt, gradients.values(), strict=True)]
        points = {m: balls[m].ascend(points[m], gradients[m]) for m in names}
    _refuse_nan(dict(zip(names, torch.stack(spoilt).tolist(), strict=True)))
    return points, none


@contextmanager
def _encoded_once(model: nn.Module, untouched: Mapping[str, Tensor]) -> Iterator[None]:
    """A late-fusion net whose encoders of ``untouched`` modalities give what they gave once, while the context lasts.

    Any other net, and an encoder that two modalities share, runs as it is.
    """
    if not isinstance(model, LateFusion) or type(model).forward is not LateFusion.forward:
        yield
        return
    parts = [id(part) for encoder in model.encoders.values() for part in encoder.modules()]
    known: dict[str, Callable[..., Tensor]] = {}
    for m, x in untouched.items():
        encoder = model.encoders[m]
        if any(parts.count(id(part)) > 1 for part in encoder.modules()):
            continue
        with torch.no_grad():
            feature = encoder(x)
        if isinstance(feature, Tensor):
            known[f"encoders.{m}"] = partial(_again, feature)
    with answering(model, known):
        yield


def _again(feature: Tensor, _x: Tensor) -> Tensor:
    return feature.clone()  # what follows may work in place


def _gradients(
    model: nn.Module,
    inputs: dict[str, Tensor],
    points: dict[str, Tensor],
    labels: Tensor,
    criterion: Callable[[Tensor, Tensor], Tensor],
    looked: bool = True,
) -> dict[str, Tensor]:
    """∇ of the loss at the points, by modality; zeros for one that the model does not use.

    Unless ``looked``, no number is read, for which the host would wait for a GPU.
    """
    leaves = {m: p.detach().requires_grad_() for m, p in points.items()}
    with torch.enable_grad():
        outputs = answer(model, {m: leaves.get(m, x) for m, x in inputs.items()})
        if looked:
            check_outputs(outputs, model)
            if criterion is _climbed:
                objectives.check_outputs(outputs, labels)
                objectives.check_range(outputs, labels)
        loss = scalar(criterion(outputs, labels), "criterion")
    found: tuple[Tensor | None, ...] = (None,) * len(leaves)
    if loss.requires_grad:  # only the inputs are asked for, so parameters collect nothing
        found = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
    gradients = {
        m: torch.zeros_like(leaf) if g is None else g for (m, leaf), g in zip(leaves.items(), found, strict=True)
    }
    if looked:
        _refuse_nan({m: bool(g.isnan().any()) for m, g in gradients.items()})
    return gradients


def _refuse_nan(spoilt: Mapping[str, bool]) -> None:
    for m in (m for m, bad in spoilt.items() if bad):
        raise ValueError(
            f"the gradient of the loss with respect to {m!r} is NaN, so there is no direction to attack in; "
            "look for a square root or logarithm of 0 in the model, or use float64."
        )


def _refuse_ids(samples: Samples, names: Collection[str]) -> None:
    for m in names:
        if not samples.inputs[m].is_floating_point():
            raise TypeError(
                f"{m!r} holds token ids ({samples.inputs[m].dtype}), which have no gradient and no ball around them; "
                "attack another modality, or features that stand for the tokens (encoders.pretrained(…).on(dataset))."
            )


def _by_modality(what: str, value: Any, names: tuple[str, ...]) -> dict[str, Any]:
    """``value`` for each of ``names``: one for all, or a mapping that names each."""
    if not isinstance(value, Mapping):
        return dict.fromkeys(names, value)
    for m in names:
        if m not in value:
            raise ValueError(f"{what} is given by modality, but {m!r} is missing; it has {list(value)}.")
    for m in value:
        check.one_of(f"attacked modality in {what}", m, names)
    return {m: value[m] for m in names}


def _limits(modality: str, clip: Any, samples: Samples) -> tuple[float, float] | None:
    if clip is None:
        return None
    if not isinstance(clip, (tuple, list)) or len(clip) != 2:
        raise TypeError(f"clip must be (low, high) or None, got {clip!r}.")
    low, high = check.real("clip[0]", clip[0]), check.real("clip[1]", clip[1])
    x = samples.inputs[modality][samples.present[modality]]
    if x.numel() and not low <= float(x.min()) <= float(x.max()) <= high:
        raise ValueError(
            f"inputs[{modality!r}] run from {float(x.min()):g} to {float(x.max()):g}, outside clip ({low:g}, "
            f"{high:g}); give the range of valid inputs, or clip=None."
        )
    return low, high


def _warn_if_eps_never_binds(modality: str, eps: float, step: float, iterations: int, random_start: bool) -> None:
    reach = step * iterations
    if reach >= eps * (1 - 1e-9):
        return
    start = f" from its random start (noise of up to {eps:g})" if random_start else ""
    warnings.warn(
        f"eps={eps:g} never binds for {modality!r}: {iterations} steps of {step:g} move it by {reach:g} at "
        f"most{start}. Raise step (alpha) to {eps / iterations:g} or more, or leave it out for 2.5 eps / iterations.",
        stacklevel=3,
    )
