"""The modality gap of a model on data: of any module, whose latents stand where one says."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import torch
from torch import nn

from ...data.samples import Samples
from ...models.any_batch import Called, seen
from ...models.evaluation import device_of, eval_mode
from ...models.latents import METHODS, latents_of
from ...utils import checks as check
from .gap import ModalityGap, modality_gap


def modality_gaps(
    model: Any,
    samples: Any,
    latents: Mapping[str, str] | None = None,
    *,
    method: str = "exact",
    batch_size: int = 512,
    **options: Any,
) -> dict[tuple[str, str], ModalityGap]:
    """:func:`modality_gap` between each two modalities of a model, on rows that have them all.

    Latents of length 0 have no direction and are left out.

    Args:
        model: what :func:`~xmodal_lab.fit` returned, or a module with ``latents(inputs)``, as ``LateFusion`` has; with
            ``latents`` any module.
        samples: a split; or a batch or loader of what the module is called with, as in ``xl.robustness.pgd``. A dict
            needs no labels here.
        latents: modality -> the submodule whose output is its latent, such as {"image": "vision_model"}; tokens
            (N, T, d) count by their mean, objects of ``transformers`` by their pooled output. None: the module says it.
        method: of :func:`w2`; ``options`` go there as well.
        batch_size: rows at a time.

    Returns:
        (modality, modality) -> :class:`ModalityGap`.

    Raises:
        ValueError: fewer than two modalities, no submodule of that name, latents of different widths.
        TypeError: a module that does not say where its latents are.

    Example:
        >>> import xmodal_lab as xl
        >>> ds = xl.load("shapes", modalities=("image", "audio"), n_train=20, n_test=10)
        >>> net = xl.LateFusion.for_dataset(ds, architecture="mlp")
        >>> list(xl.transport.modality_gaps(net, ds.test))
        [('image', 'audio')]
    """
    net = check.instance("model", getattr(model, "model", model), nn.Module, "or what xl.fit returned")
    batch_size = check.integer("batch_size", batch_size, at_least=1)
    places = check.mapping("latents", latents or {}, "names of submodules")
    if not isinstance(samples, Samples):
        net, samples, _ = seen(net, samples, latents=places, target=False)
    elif places:
        net = Called(net, getattr(net, "modalities", samples.modalities), "dict", places=places)
    if not callable(getattr(net, "latents", None)):
        raise TypeError(
            f"{type(net).__name__} has no latents(inputs) (a gap needs {' and '.join(METHODS[:2])}); name a submodule "
            "for each modality, latents={'image': 'vision_model', 'text': 'text_model'}."
        )
    names = check.modalities_of(getattr(net, "modalities", None), samples.modalities)
    whole = samples.complete(names).to(device_of(net, samples.labels.device))
    with eval_mode(net), torch.no_grad():
        found = latents_of(net, {m: whole.inputs[m] for m in names}, batch_size)
    if len(found) < 2:
        raise ValueError(f"a gap is between modalities; there are latents of {', '.join(found)} alone.")
    clouds = {m: z[z.norm(dim=1) > 0].cpu() for m, z in found.items()}  # some encoders give zeros, too
    if none := [m for m, z in clouds.items() if not len(z)]:
        raise ValueError(f"the latents of {none[0]!r} are all zero; none has a direction.")
    return {(a, b): modality_gap(clouds[a], clouds[b], method, **options) for a, b in combinations(clouds, 2)}
