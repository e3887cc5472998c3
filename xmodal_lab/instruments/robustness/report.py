"""Robustness: noise, missing modalities, corruptions, attacks, and one table of them all.

What spoils data takes :class:`~xmodal_lab.Samples`, or any dict of tensors such as the features of
``model.encode`` or the tokens of a transformer, and returns the same kind of thing:
:func:`add_noise`, :func:`drop_modality`, :func:`corrupt`. :func:`evaluate_under` says how a model does on
the result, :func:`pgd` attacks it, :func:`report` tries everything. Nothing trains, and no model is changed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from ...data.corruptions import CORRUPTIONS, corruption, deviation, generator, severity_of
from ...data.samples import Samples
from ...models.any_batch import on_samples, tried
from ...models.coarse import single, single_samples
from ...models.evaluation import Evaluation, device_of, encoded, eval_mode, evaluation, outputs_of, seen_modalities
from ...utils import checks as check
from ...utils.torch_state import full_precision
from .attacks import PGD_IMAGE, PGD_SPECTROGRAM, pgd, relative_drop

if TYPE_CHECKING:
    import pandas as pd

Views = TypeVar("Views", Samples, dict[str, Tensor])

NOISES = ("uniform", "gaussian", "one_sided")
PLACES = ("inputs", "features")


# -- what spoils samples or features -----------------------------------------------------------------


def add_noise(
    views: Views,
    modality: str | Collection[str],
    amplitude: float,
    kind: str = "uniform",
    relative: bool = False,
    seed: int = 0,
) -> Views:
    """Add noise to a modality: x' = x + amplitude · u.

    "We add uniform noise of amplitude 3 to the embedding feature" (wma, Sec 4.1) leaves open whether the
    noise is centred. "uniform" reads it as u on [-1, 1], so the noise has standard deviation
    amplitude/√3; "one_sided" is the other reading, u on [0, 1], which also shifts the features by amplitude/2.

    Args:
        views: samples, or a dict of tensors (N, ...), such as features; the other entries pass as they are.
        modality: one name or several; each draws its own noise. Rows that lack it stay zero.
        amplitude: half the width of "uniform", the width of "one_sided", the standard deviation of "gaussian".
        kind: "uniform" | "gaussian" | "one_sided".
        relative: amplitude in units of this modality's own standard deviation over all its values (rows that
            have it), so that modalities can be compared.
        seed: of the noise; the same on every device.

    Returns:
        The views, the modality's replaced; what came in stays as it is.

    Raises:
        ValueError: an unknown modality or kind, amplitude below 0, values that are NaN, or constant with ``relative``.
        TypeError: neither samples nor a dict of floating-point tensors.

    Example:
        >>> import torch
        >>> import xmodal_lab as xl
        >>> ds = xl.load("shapes", n_train=20, n_test=10)
        >>> noisy = xl.robustness.add_noise(ds.test, "image", amplitude=0.1)
        >>> bool((noisy.inputs["image"] - ds.test.inputs["image"]).abs().max() <= 0.1 + 1e-6)
        True
    """
    names = _named(views, modality)
    size = check.non_negative("amplitude", amplitude)
    check.one_of("kind of noise", kind, NOISES)
    check.integer("seed", seed, at_least=0)

    def noisy(m: str, x: Tensor) -> Tensor:
        if not x.is_floating_point():
            raise TypeError(
                f"{m!r} holds token ids ({x.dtype}), to which no noise can be added; add it to features "
                "(where='features'), or drop rows (drop_modality)."
            )
        scale = size * deviation(f"modality {m!r}", x) if relative else size
        rng = generator(seed, "noise", m)
        # Low precision would draw from a coarse lattice.
        dtype = x.dtype if x.dtype == torch.float64 else torch.float32
        if kind == "gaussian":
            u = torch.randn(x.shape, generator=rng, dtype=dtype)
        else:
            u = torch.rand(x.shape, generator=rng, dtype=dtype)
            u = 2 * u - 1 if kind == "uniform" else u
        return x + (scale * u).to(x)

    return _changed(views, names, noisy)


def drop_modality(views: Views, modality: str | Collection[str], share: float = 0.5, seed: int = 0) -> Views:
    """Take a modality away from a share of the rows: there it is zeros, and ``present`` is False.

    Exactly round(share · N) of the N rows that have it lose it; at one seed, a larger share takes the
    same rows and more. In a dict of features the rows become zeros, as in wma.

    Args:
        views: samples, or a dict of tensors (N, ...), such as features.
        modality: one name or several; each loses its own rows.
        share: of the rows, in [0, 1] (0.5: wma, Sec 4.1, "randomly remove 50%").
        seed: of the draw.

    Returns:
        The views, the modality's replaced; what came in stays as it is.

    Raises:
        ValueError: an unknown modality, a share outside [0, 1].
        TypeError: neither samples nor a dict of floating-point tensors.

    Example:
        >>> import xmodal_lab as xl
        >>> ds = xl.load("shapes", n_train=20, n_test=10)
        >>> int(xl.robustness.drop_modality(ds.test, "audio", share=0.3).present["audio"].sum())
        7
    """
    names = _named(views, modality)
    share = check.share("share", share)
    check.integer("seed", seed, at_least=0)

    def lost(m: str, rows: Tensor) -> Tensor:
        order = torch.randperm(len(rows), generator=generator(seed, "missing", m)).to(rows.device)
        return rows[order[: round(share * len(rows))]]

    if isinstance(views, Samples):
        present = dict(views.present)
        for m in names:
            present[m] = present[m].index_fill(0, lost(m, present[m].nonzero().flatten()), False)
        return replace(views, present=present)
    zeroed = {m: views[m].index_fill(0, lost(m, torch.arange(len(views[m]), device=views[m].device)), 0) for m in names}
    return {**views, **zeroed}


def corrupt(
    views: Views, modality: str | Collection[str], name: str, severity: int, kind: str | None = None, seed: int = 0
) -> Views:
    """Corrupt a modality: "gaussian_blur" of an image, "time_mask" of a log-mel, … (:data:`CORRUPTIONS`).

    Args:
        views: samples, or a dict of tensors, (N, C, H, W) for the modality.
        modality: one name or several of the same kind.
        name: of the corruption; ``CORRUPTIONS[kind]`` lists them with what their severities mean.
        severity: 1 to 5.
        kind: "image" | "audio", as in ``Dataset.kinds``; the modality's name when not given.
        seed: of what is drawn.

    Returns:
        The views, the modality's replaced; what came in stays as it is.

    Raises:
        ValueError: an unknown modality, kind or corruption, a severity that is not 1 to 5, values that are
            not (N, C, H, W), NaN.
        TypeError: neither samples nor a dict of floating-point tensors.

    Source: synergy Tab 1 tests on ImageNet-C (Hendrycks and Dietterich 2019); the levels are ours.

    Example:
        >>> import xmodal_lab as xl
        >>> ds = xl.load("shapes", n_train=20, n_test=10)
        >>> xl.robustness.corrupt(ds.test, "image", "gaussian_blur", severity=3).inputs["image"].shape
        torch.Size([10, 3, 32, 32])
    """
    names = _named(views, modality)
    chosen = {m: corruption(name, m if kind is None else kind) for m in names}
    severity_of(severity)
    return _changed(views, names, lambda m, x: chosen[m](x, severity, seed))


# -- how a model does there --------------------------------------------------------------------------


@full_precision()
def evaluate_under(
    model: nn.Module,
    samples: Any,
    transform: Callable[[Any], Any] | None = None,
    *,
    where: str = "inputs",
    criterion: Callable[[Tensor, Tensor], Tensor] | None = None,
    batch_size: int = 1024,
) -> Evaluation:
    """Loss and accuracy of ``model`` after ``transform`` has spoilt its inputs or its features.

    All rows count; one that lacks a modality has zeros there. The model is looked at in eval mode.

    Args:
        model: a module from a dict of inputs to logits; for features it has ``encode`` (inputs -> dict of
            features) and ``classify`` (dict of features -> logits), as :class:`~xmodal_lab.LateFusion` has.
        samples: a split of a dataset, or a batch or loader as in :func:`pgd`.
        transform: samples -> samples, or dict of features -> dict of features; it sees all rows at once.
            None: nothing is spoilt.
        where: "inputs" | "features".
        criterion: ``criterion(outputs, labels) -> scalar``, the loss; beside a batch its target may be any tensor with
            a row for each sample, and accuracy is then minus the loss. None: what the labels ask for.
        batch_size: rows at a time (1024, as in training).

    Returns:
        :class:`Evaluation`, (loss, accuracy).

    Raises:
        ValueError: a modality that the samples lack, unknown labels (-1), an unknown ``where``, outputs
            that are NaN, a transform that loses rows or views.
        TypeError: a model without ``encode`` and ``classify`` when features are asked for; a transform that
            returns something else.

    Example:
        >>> import xmodal_lab as xl
        >>> ds = xl.load("shapes", modalities=("image", "audio"), n_train=20, n_test=10)
        >>> net = xl.LateFusion.for_dataset(ds, architecture="mlp")
        >>> silent = lambda samples: xl.robustness.drop_modality(samples, "audio", share=1.0)
        >>> 0 <= xl.robustness.evaluate_under(net, ds.test, silent).accuracy <= 1
        True
    """
    model, samples, criterion = on_samples(model, samples, criterion=criterion)
    names = seen_modalities(model, samples)
    model, samples = single(model), single_samples(samples)
    check.one_of("place", where, PLACES)
    batch_size = check.integer("batch_size", batch_size, at_least=1)
    if transform is not None:
        check.function("transform", transform, "from samples to samples, or from features to features")
    if criterion is not None:
        check.function("criterion", criterion, "from (outputs, labels) to a scalar")
    device = device_of(model, samples.labels.device)
    with eval_mode(model):
        if where == "inputs":
            spoilt = samples if transform is None else _same_rows(transform(samples), samples)
            inputs = {m: spoilt.inputs[m] for m in names}
            return evaluation(outputs_of(model, inputs, batch_size, device), samples.labels, criterion)
        classify = _has_features(model).classify
        features = encoded(model, {m: samples.inputs[m] for m in names}, batch_size)
        if transform is not None:
            features = _same_features(transform(features), features)
        outputs = outputs_of(classify, features, batch_size, device)  # type: ignore[arg-type]
        return evaluation(outputs, samples.labels, criterion)


def report(
    model: nn.Module,
    samples: Any,
    *,
    modalities: str | Collection[str] | None = None,
    noise: Sequence[float] = (1.0,),
    noise_kind: str = "uniform",
    relative_noise: bool = True,
    missing: Sequence[float] = (0.5,),
    corruptions: Sequence[str] | None = None,
    severities: Sequence[int] = (1, 3, 5),
    attacks: Mapping[str | tuple[str, ...], Mapping[str, Any]] | None = None,
    kinds: Mapping[str, str] | None = None,
    where: str | Sequence[str] = "inputs",
    criterion: Callable[[Tensor, Tensor], Tensor] | None = None,
    batch_size: int = 256,
    seed: int = 0,
) -> pd.DataFrame:
    """One row per condition: clean, noise and missing rows per modality, corruptions, attacks.

    Args:
        model: as in :func:`evaluate_under`.
        samples: a split of a dataset, or a batch or loader as in :func:`pgd`.
        modalities: those that are tried; None for all that the model sees, but for masks and positions of tokens.
            "inputs_embeds" of a batch that holds input_ids tries a transformer on its embeddings.
        noise: amplitudes, one row each per modality; one standard deviation by default (ours).
        noise_kind, relative_noise: see :func:`add_noise`. wma's own test is ``noise=(3.0,),
            relative_noise=False, where="features"``.
        missing: shares of rows (0.5: wma, Sec 4.1).
        corruptions: names from :data:`CORRUPTIONS`; None for all that fit the modality, () for none.
        severities: of the corruptions.
        attacks: modality, or tuple of modalities for a joint attack -> options of :func:`pgd`; ``{}`` for
            none. None: :data:`PGD_IMAGE` and :data:`PGD_SPECTROGRAM` by kind, as published; what never binds warns.
        kinds: modality -> "image" | "audio" | …, where the samples do not say it (those of a dataset do) nor the name.
        where: "inputs", "features" or both: where noise and missing rows are tried.
        criterion: as in :func:`evaluate_under`; attacks climb it.
        batch_size: rows at a time.
        seed: of all that is drawn.

    Returns:
        A table with columns condition, modality, setting, level, where, loss, accuracy, drop, relative_drop.
        ``level`` is the amplitude, share, severity or eps; ``relative_drop`` = drop / clean accuracy. Its
        ``attrs`` hold the seed, the unit of the noise, and step, iterations and reach of each attack.

    Raises:
        ValueError, TypeError: as the functions it calls.
    """
    import pandas as pd

    model, samples, criterion = on_samples(model, samples, _asked(modalities, attacks), criterion)
    names = tried(model, seen_modalities(model, samples))
    names = names if modalities is None else check.modalities_of(modalities, names)
    model, samples = single(model), single_samples(samples)
    places = (where,) if isinstance(where, str) else tuple(check.listed("where", where))
    for place in places:
        check.one_of("place", place, PLACES)
    noise, missing = check.listed("noise", noise), check.listed("missing", missing)
    severities = check.listed("severities", severities)
    corruptions = None if corruptions is None else check.listed("corruptions", corruptions)
    known = check.mapping("kinds", {} if kinds is None else kinds, "kinds of modality")
    kind_of = {m: known.get(m, samples.kinds.get(m, m)) for m in names}
    spoilers = {m: _applicable(samples.inputs[m], kind_of[m], corruptions) for m in names}
    _check_wanted(corruptions, kind_of)
    if attacks is None:
        published = {"image": PGD_IMAGE, "audio": PGD_SPECTROGRAM}
        attacks = {m: published[kind_of[m]] for m in names if kind_of[m] in published}
    for key, options in check.mapping("attacks", attacks, "options of pgd").items():
        check.mapping(f"attacks[{key!r}]", options, "values")

    clean = evaluate_under(model, samples, criterion=criterion, batch_size=batch_size)
    rows: list[dict[str, Any]] = []

    def add(condition: str, modality: str, setting: str, level: float, place: str, result: Evaluation) -> None:
        drop = clean.accuracy - result.accuracy
        rows.append(
            {"condition": condition, "modality": modality, "setting": setting, "level": level, "where": place,
             "loss": result.loss, "accuracy": result.accuracy, "drop": drop,
             "relative_drop": relative_drop(drop, clean.accuracy)}
        )  # fmt: skip

    def under(place: str, transform: Callable[[Any], Any]) -> Evaluation:
        return evaluate_under(model, samples, transform, where=place, criterion=criterion, batch_size=batch_size)

    add("clean", "", "", math.nan, "inputs", clean)
    for place in places:
        for m in names:
            for a in noise if samples.inputs[m].is_floating_point() or place == "features" else ():
                spoil = _bound(add_noise, m, a, noise_kind, relative_noise, seed)
                add("noise", m, noise_kind, a, place, under(place, spoil))
            for share in missing:
                add("missing", m, "zeros", share, place, under(place, _bound(drop_modality, m, share, seed)))
    for m in names:
        for name in spoilers[m]:
            for s in severities:
                spoil = _bound(corrupt, m, name, s, kind_of[m], seed)
                add("corruption", m, name, s, "inputs", under("inputs", spoil))
    told: dict[str, Any] = {}
    for key, options in attacks.items():
        attack = pgd(model, samples, key, **{"criterion": criterion, "batch_size": batch_size, "seed": seed, **options})
        together = "+".join(attack.modalities)
        result = Evaluation(attack.adversarial_loss, attack.adversarial_accuracy)
        add("pgd", together, attack.norm, max(attack.eps.values()), "inputs", result)
        told[together] = {"step": dict(attack.step), "iterations": attack.iterations, "reach": attack.reach}
    table = pd.DataFrame(rows)
    unit = "sd" if relative_noise else "absolute"
    table.attrs = {"cites": ["xmodal_lab"], "seed": seed, "noise_unit": unit, "attacks": told}
    return table


# -- private -----------------------------------------------------------------------------------------


def _asked(modalities: Any, attacks: Any) -> Any:
    """The modalities asked for; else those that a mapping of attacks names, alone or several together."""
    if modalities is not None:
        return modalities
    keys = list(attacks) if isinstance(attacks, Mapping) else []
    return [m for key in keys for m in ([key] if isinstance(key, str) else key)]


def _named(views: Any, modality: str | Collection[str]) -> tuple[str, ...]:
    """The names to change, if ``views`` is something that can be changed there."""
    if isinstance(views, Samples):
        return check.modalities_of(modality, views.modalities)
    if not isinstance(views, Mapping):
        raise TypeError(f"expected Samples or a dict of tensors, got {type(views).__name__}.")
    names = check.modalities_of(modality, views)
    for m in names:
        x = views[m]
        if not isinstance(x, Tensor) or not x.is_floating_point():
            raise TypeError(f"{m!r} must be a floating-point tensor, got {getattr(x, 'dtype', type(x).__name__)}.")
        if x.ndim < 1 or x.numel() == 0:
            raise ValueError(f"{m!r} must have shape (N, ...) and hold values, got {tuple(x.shape)}.")
        check.finite(repr(m), x)
    return names


def _changed(views: Views, names: tuple[str, ...], change: Callable[[str, Tensor], Tensor]) -> Views:
    """``views`` with ``change`` applied to the rows that have each named modality."""
    if not isinstance(views, Samples):
        spoilt = {m: check.finite(f"the changed {m!r} (numbers overflow)", change(m, views[m])) for m in names}
        return {**views, **spoilt}
    inputs = dict(views.inputs)
    for m in names:
        here = views.present[m]
        if bool(here.all()):
            inputs[m] = change(m, inputs[m])
        elif bool(here.any()):
            changed = inputs[m].clone()
            changed[here] = change(m, inputs[m][here])
            inputs[m] = changed
    return replace(views, inputs=inputs)


def _same_rows(spoilt: Any, samples: Samples) -> Samples:
    if not isinstance(spoilt, Samples):
        raise TypeError(f"transform must return Samples, got {type(spoilt).__name__}.")
    if len(spoilt) != len(samples) or spoilt.modalities != samples.modalities:
        raise ValueError(
            f"transform must keep rows and modalities: {len(samples)} rows of {samples.modalities} "
            f"became {len(spoilt)} rows of {spoilt.modalities}."
        )
    return spoilt


def _same_features(spoilt: Any, features: dict[str, Tensor]) -> dict[str, Tensor]:
    if not isinstance(spoilt, Mapping):
        raise TypeError(f"transform must return a dict of features, got {type(spoilt).__name__}.")
    before = {m: tuple(x.shape) for m, x in features.items()}
    after = {m: tuple(x.shape) for m, x in spoilt.items()}
    if before != after:
        raise ValueError(f"transform must keep the features' names and shapes: {before} became {after}.")
    return dict(spoilt)


def _has_features(model: nn.Module) -> nn.Module:
    if not callable(getattr(model, "encode", None)) or not callable(getattr(model, "classify", None)):
        raise TypeError(
            f"{type(model).__name__} has no encode(inputs) and classify(features), so its features cannot be "
            "spoilt; give it both, or use where='inputs'."
        )
    return model


def _applicable(x: Tensor, kind: str, wanted: Sequence[str] | None) -> list[str]:
    """Corruptions for a modality: none unless it is (N, C, H, W) of a kind that has some."""
    if kind not in CORRUPTIONS or x.ndim != 4:
        return []
    return [name for name in CORRUPTIONS[kind] if wanted is None or name in wanted]


def _check_wanted(wanted: Sequence[str] | None, kind_of: Mapping[str, str]) -> None:
    known = {name: None for kind in kind_of.values() for name in CORRUPTIONS.get(kind, {})}
    for name in wanted or ():
        check.one_of(f"corruption of {', '.join(kind_of)}", name, known)


def _bound(spoil: Callable[..., Any], *options: Any) -> Callable[[Any], Any]:
    return lambda views: spoil(views, *options)
