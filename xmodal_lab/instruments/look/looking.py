"""Looks as one Dataset: at one net, and at every checkpoint of a training."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor, nn

from ...data.labels import task_of
from ...data.samples import Samples
from ...losses.module_loss import loss_on
from ...models.any_batch import BATCHES, on_samples, tried
from ...models.copies import copy_of
from ...sweeps.experiment import Variable, of_values
from ...utils import checks as check
from .. import landscape as landscapes
from ..curvature.checked import checked_once
from .settings import Looks, looks_of
from .taking import Neighbour, taken

if TYPE_CHECKING:
    import xarray as xr

SOURCE = "xmodal_lab look"  # begins with what is to be cited


def look(run: Any, samples: Any, *, criterion: Any = None, **looks: Any) -> xr.Dataset:
    """Take several looks at one net.

    Args:
        run: what :func:`~xmodal_lab.fit` returned, or a model: any module from a dict of inputs to outputs. The gap
            wants ``latents`` as well, see :mod:`xmodal_lab.models.latents`. Beside a batch any module.
        samples: a split, such as ``dataset.test``; or a batch or loader of what the model is called with, as in
            :func:`xl.robustness.pgd <xmodal_lab.instruments.robustness.pgd>`. With a batch, ``latents={"image":
            "vision_model", …}`` names the submodules whose outputs are the latents of the gap.
        criterion: as in :func:`~xmodal_lab.loss_on`; beside a batch its target may be any tensor with a row for each
            sample, and accuracy is then minus the loss.
        looks: which:

            - ``landscape``: points along a side of a filter-normalised plane; ``span``: how far it reaches (1);
              ``tolerance``: as in :func:`~xmodal_lab.landscape.plane`, for fewer points (every point; it saves some
              from about 15 points along a side on, and none up to 11);
            - ``density``: True for the Hessian's spectral density (stochastic Lanczos) on :func:`lambdas`, "block"
              for each block of parameters as well; ``eigenvalues``: how many leading ones;
            - ``lpf``: σ of the low-pass filter, a share of each filter's norm; ``f_gap``: radii, likewise;
            - ``gap``: W2 between the modalities' latents (those that are not zero), its sampling bias, the ratio of
              their variances, and D, the mean cost between a row's own latents (wma Eq 5);
            - ``pgd``: radii of attacks on each modality, in the units of its input; ``missing``: the share of rows
              that lose it; ``noise``: amplitude in its standard deviations;
            - ``looks``: your own :class:`Look`, its place "package.module:NAME", the name that an installed package
              announces it by, or a dict name -> function(model, samples);
            - ``rows``: how many rows are looked at, at most, the first ones (all); ``seed``: of all that is drawn.

    Returns:
        One Dataset: ``loss``, ``accuracy``, ``landscape`` (a, b), ``density`` (lambda_), ``eigenvalue`` (k), ``lpf``,
        ``lpf_rise``, ``f_gap`` (radius), ``w2``, ``w2_bias``, ``variance_ratio``, ``distance``, ``pgd`` (modality,
        eps), ``missing`` and ``noisy`` (modality), and your own. ``attrs["why"]``: JSON, variable -> why it is NaN;
        ``attrs["settings"]``: JSON, the looks that were asked for.

    Raises:
        ValueError, TypeError: settings that make no sense; a model or samples that are none.

    Example:
        >>> import xmodal_lab as xl
        >>> ds = xl.load("shapes", modalities=("image", "audio"), n_train=40, n_test=20)
        >>> net = xl.LateFusion.for_dataset(ds, architecture="mlp")
        >>> seen = xl.look(net, ds.test, landscape=5, eigenvalues=2, gap=True)
        >>> seen.landscape.shape, bool(seen.w2 > 0)
        ((5, 5), True)
    """
    places = looks.pop("latents", None) if isinstance(samples, BATCHES) else None
    model, samples, criterion = on_samples(run, samples, criterion=criterion, latents=places)
    return _look(looks_of(looks), model_of(model), samples, criterion)


def _look(
    chosen: Looks, model: nn.Module, samples: Samples, criterion: Any, neighbour: Neighbour | None = None
) -> xr.Dataset:
    check.instance("samples", samples, Samples, "such as dataset.test")
    found, why = taken(chosen, model, samples, criterion, neighbour)
    names: Any = tried(model, getattr(model, "modalities", samples.modalities))
    blocks = found["block_density"]["block"].values.tolist() if hasattr(found.get("block_density"), "coords") else ()
    variables = chosen.variables(names, blocks)
    whole = _as_dataset(of_values(variables) if task_of(samples.labels) == "values" else variables, found, why)
    whole.attrs["settings"] = json.dumps(chosen.told(), ensure_ascii=False)
    return whole


def along(run: Any, samples: Samples, *, model: nn.Module | None = None, criterion: Any = None, trajectory: int = 0,
          on_checkpoint: Callable[[int, xr.Dataset], None] | None = None, **looks: Any) -> xr.Dataset:  # fmt: skip
    """The same looks at every checkpoint of a training; eigenvalues are looked for from the last checkpoint's vectors.

    Args:
        run: what :func:`~xmodal_lab.fit` returned with ``snapshots=``; or checkpoints: epoch -> state dict, or a
            list of them, anyone's own.
        samples: as in :func:`look`.
        model: the net that the checkpoints are of, where ``run`` is none.
        criterion: as in :func:`look`.
        trajectory: points along a side of the plane that training took (its first two principal components), with
            the ``path``; 0 for none. The plane is that of the last checkpoint's loss; ``tolerance`` holds for it.
        on_checkpoint: hears of each epoch and its looks as they are taken.
        looks: as in :func:`look`.

    Returns:
        As :func:`look`, with a dim ``epoch``; with a trajectory also ``trajectory`` (ta, tb) and ``path`` (epoch,
        axis).

    Raises:
        ValueError, TypeError: no checkpoint, or one that does not fit the model; as :func:`look`.
    """
    import xarray as xr

    trajectory = check.integer("trajectory (points along a side)", trajectory, at_least=0)
    kept, net = _checkpoints(run, model)
    copy, chosen, seen, neighbour = copy_of(net), looks_of(looks), [], Neighbour()
    with checked_once():
        for epoch, params in kept.items():
            _load(copy, params, epoch)
            seen.append(_look(chosen, copy, samples, criterion, neighbour))
            if on_checkpoint is not None:
                on_checkpoint(epoch, seen[-1])
    found = xr.concat(seen, "epoch", combine_attrs="override").assign_coords(epoch=list(kept))
    why = [json.loads(one.attrs["why"]) for one in reversed(seen)]  # what only one epoch cannot answer is told, too
    found.attrs["why"] = json.dumps({name: s for each in why for name, s in each.items()}, ensure_ascii=False)
    if trajectory:
        names = {name for name, _ in copy.named_parameters()}
        paths = [{n: p for n, p in params.items() if n in names} for params in kept.values()]
        loss = loss_on(copy, samples, criterion)
        plane = landscapes.trajectory_plane(loss, paths, trajectory, tolerance=chosen.tolerance)
        found["trajectory"] = (("ta", "tb"), plane["loss"].to_numpy(), dict(found["loss"].attrs))
        found = found.assign_coords(ta=plane["a"].to_numpy(), tb=plane["b"].to_numpy(), axis=["ta", "tb"])
        found["path"] = (("epoch", "axis"), plane["path"].to_numpy()[0])
    return found


def model_of(run: Any) -> nn.Module:
    """The net of a run, or the net itself.

    Raises:
        TypeError: neither.
    """
    return check.instance("run", getattr(run, "model", run), nn.Module, "or what xl.fit returned")


def _as_dataset(variables: Mapping[str, Variable], found: Mapping[str, Any], why: Mapping[str, str]) -> xr.Dataset:
    import xarray as xr

    data = {}
    for name, variable in variables.items():
        coords = {dim: list(values) for dim, values in variable.dims.items()}
        empty = xr.DataArray(np.full(variable.shape, np.nan), coords, tuple(coords))
        value = found.get(name, math.nan)
        if isinstance(value, xr.DataArray):
            value = value.reindex({d: coords[d] for d in value.dims}) if set(value.dims) <= set(coords) else value
            whole = value
        else:
            plain = value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value, dtype=float)
            if plain.shape not in ((), variable.shape):
                raise ValueError(
                    f"the look {name!r} gave shape {plain.shape}, it declares {variable.shape}; name its dimensions: "
                    f"xl.Look({name!r}, …, dims={{…}})."
                )
            whole = empty.copy(data=np.broadcast_to(plain, variable.shape).copy())
        whole.attrs = {k: v for k, v in (("long_name", variable.label), ("units", variable.units)) if v}
        data[name] = whole
    return xr.Dataset(data, attrs={"source": SOURCE, "why": json.dumps(dict(why), ensure_ascii=False)})


def _checkpoints(run: Any, model: nn.Module | None) -> tuple[dict[Any, Mapping[str, Tensor]], nn.Module]:
    kept = getattr(run, "snapshots", run)
    net = getattr(run, "model", model)
    if not isinstance(kept, Mapping):
        kept = dict(enumerate(check.listed("checkpoints", kept)))
    if not kept:
        raise ValueError("there is no checkpoint to look at; train with xl.fit(…, snapshots=5), or give state dicts.")
    if net is None:
        raise TypeError("checkpoints alone are no net; give the net that they are of as model=.")
    return dict(kept), check.instance("model", net, nn.Module)


def _load(net: nn.Module, params: Any, epoch: Any) -> None:
    known = net.state_dict()
    check.mapping(f"the checkpoint of epoch {epoch}", params, "tensors")
    if strange := [n for n in params if n not in known]:
        raise ValueError(f"the checkpoint of epoch {epoch} holds {strange[0]!r}, which the model has not.")
    net.load_state_dict({**known, **params})
