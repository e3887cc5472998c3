"""PGD on each modality and on all at once (App C.6, Tab 11 and 12): as printed, and where ε binds.

With α = 0.001 and T = 5, Tab 11's attack on images moves a value by 0.005 at most, so its
ε = 0.1 never binds.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch

from ..data.samples import Dataset
from ..instruments import robustness

if TYPE_CHECKING:
    import xarray as xr

REACHES = ("as printed", "binding")
BINDING = {"eps": 0.2, "step": 0.05, "iterations": 10}  # in standard deviations of the input (ours)
EPS = (0.0, 0.1, 0.2, 0.4)  # of the curve of accuracy under attack, same units (ours)
CURVE_ROWS, CURVE_STEPS = 400, 5  # test rows and steps of ε/2 of that curve (ours)


def drops(net: torch.nn.Module, dataset: Dataset) -> xr.DataArray:
    """Drop rates as the paper attacks and where ε binds (App C.6)."""
    import xarray as xr

    drops = []
    for target in _targets(net, dataset):
        printed = _attack(net, dataset, target, [published(dataset, m) for m in target])
        binding = _attack(net, dataset, target, [_in_sd(dataset, m, **BINDING) for m in target])
        drops.append([printed.drop_rate, binding.drop_rate])
    attacked = ["+".join(t) for t in _targets(net, dataset)]
    return xr.DataArray(drops, {"attacked": attacked, "reach": list(REACHES)}, ("attacked", "reach"))


def under_attack(net: torch.nn.Module, dataset: Dataset) -> xr.DataArray:
    """Accuracy over ε on the first ``CURVE_ROWS`` test rows, in steps of ε/2."""
    from dataclasses import replace

    import xarray as xr

    dataset, curves = replace(dataset, test=dataset.test.subset(slice(0, CURVE_ROWS))), []
    for target in _targets(net, dataset):
        rows = [[_in_sd(dataset, m, eps, eps / 2, CURVE_STEPS) for m in target] for eps in EPS[1:]]
        attacks = [_attack(net, dataset, target, options) for options in rows]
        curves.append([attacks[0].clean_accuracy, *(a.adversarial_accuracy for a in attacks)])
    attacked = ["+".join(t) for t in _targets(net, dataset)]
    return xr.DataArray(curves, {"attacked": attacked, "eps": list(EPS)}, ("attacked", "eps"))


def _targets(net: torch.nn.Module, dataset: Dataset) -> list[tuple[str, ...]]:
    names = tuple(getattr(net, "modalities", dataset.modalities))
    return [(m,) for m in names] + ([names] if len(names) > 1 else [])


def _in_sd(dataset: Dataset, modality: str, eps: float, step: float, iterations: float) -> dict[str, float]:
    sd = float(dataset.train.inputs[modality][dataset.train.present[modality]].std())
    return {"eps": eps * sd, "step": step * sd, "iterations": iterations}


def published(dataset: Dataset, modality: str) -> dict[str, float]:
    """Tab 11's attack in the units of this dataset: the paper's values lie in [0, 1], here in their own range."""
    options = robustness.PGD_SPECTROGRAM if dataset.kinds[modality] == "audio" else robustness.PGD_IMAGE
    seen = dataset.train.inputs[modality][dataset.train.present[modality]]
    width = float(seen.max() - seen.min())
    return {k: v if k == "iterations" else v * width for k, v in options.items()}


def _attack(
    net: torch.nn.Module, dataset: Dataset, target: Sequence[str], options: Sequence[Mapping[str, float]]
) -> robustness.Attack:
    each = {k: {m: o[k] for m, o in zip(target, options, strict=True)} for k in ("eps", "step")}
    with warnings.catch_warnings():  # that ε never binds as printed is what this shows
        warnings.simplefilter("ignore", UserWarning)
        return robustness.pgd(
            net, dataset.test, tuple(target), each["eps"], each["step"], int(max(o["iterations"] for o in options)),
            batch_size=1024,
        )  # fmt: skip
