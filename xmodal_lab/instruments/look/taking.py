"""How each look is taken at one net: what several of them need is made once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import combinations
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...data.samples import Samples
from ...losses import Loss, Params
from ...losses.module_loss import loss_on
from ...models.any_batch import Called, tried
from ...models.evaluation import device_of, eval_mode
from ...models.latents import answering, apart, latents_of, pooled
from ...training.alignment import Transport, token_distances
from ...utils import checks as check
from ...utils.memory import out_of_memory
from .. import curvature, flatness, robustness, transport
from .. import landscape as landscapes
from ..curvature.spectral_axis import lambdas, on_lambdas
from .settings import Look, Looks

DENSITY_STEPS, DENSITY_PROBES = 30, 2  # of stochastic Lanczos (ours: a look of a digits MLP takes a second)
LPF_SAMPLES, GAP_DIRECTIONS = 20, 20  # draws of the LPF and of F_gap (dml: 10 to 50, and 100)
CLOUD = 300  # rows of the clouds between which W2 is measured, at most (ours)
BIAS_SPLITS = 3  # of the sampling bias of W2 (ours)
# What a look raises over a net, or one modality of it, that cannot answer.
NO_ANSWER = (ValueError, TypeError, NotImplementedError, RuntimeError, ArithmeticError)


@dataclass(eq=False)
class Neighbour:
    """What the looks at one net leave for those at the next one along a path: its leading eigenvectors."""

    vectors: Sequence[Params] = ()


def taken(
    looks: Looks,
    model: nn.Module,
    samples: Samples,
    criterion: Any = None,
    neighbour: Neighbour | None = None,
    on_look: Callable[[Mapping[str, Any]], None] | None = None,
) -> tuple[dict[str, Any], dict[str, str]]:
    """What each look found, name -> number, array or DataArray; and why there is nothing, where there is.

    Args:
        looks: which.
        model, samples, criterion: as in :func:`~xmodal_lab.look`.
        neighbour: what a net nearby has left, to start from, and where this one leaves its own.
        on_look: hears of each look as it is done.
    """
    told = on_look or (lambda _: None)
    return _Taking(looks, model, samples, criterion, neighbour or Neighbour(), told).all()


@dataclass(eq=False)
class _Taking:
    """The looks at one net: what several of them need is made once."""

    looks: Looks
    model: nn.Module
    samples: Samples
    criterion: Any
    neighbour: Neighbour
    on_look: Callable[[Mapping[str, Any]], None]

    def __post_init__(self) -> None:
        names: Any = check.modalities_of(getattr(self.model, "modalities", None), self.samples.modalities)
        self.names: tuple[str, ...] = names
        self.tried = tried(self.model, names)
        seen = self.samples.complete(names)
        seen = seen if self.looks.rows is None else seen.subset(slice(0, self.looks.rows))
        self.seen = seen.to(device_of(self.model, seen.labels.device))
        self.found: dict[str, Any] = {}
        self.why: dict[str, str] = {}

    @cached_property
    def loss(self) -> Loss:
        return loss_on(self.model, self.seen, self.criterion)

    @cached_property
    def operator(self) -> Any:
        return curvature.hessian(self.loss)

    def _check_latents(self, what: str) -> None:
        """Refuse a net that has no latents of two modalities."""
        if not isinstance(self.model, Called):
            answering(self.model)
        if len(getattr(self.model, "places", ()) or self.names) < 2:
            raise ValueError(f"{what} is between modalities; this net sees {self.names[0]} alone")

    @cached_property
    def latents(self) -> dict[str, Tensor]:
        self._check_latents("a gap")
        with eval_mode(self.model):
            found = latents_of(self.model, {m: self.seen.inputs[m][:CLOUD] for m in self.names})
        return {m: z.cpu() for m, z in found.items()}

    def all(self) -> tuple[dict[str, Any], dict[str, str]]:
        looks = self.looks
        self._take(("loss", "accuracy"), self._clean)  # what is quick comes first: somebody may look on
        self._take(("w2", "w2_bias", "variance_ratio"), self._gap, looks.gap)
        self._take(("landscape",), self._landscape, looks.landscape)
        self._take(("density",), self._density, looks.density)
        self._take(("block_density",), self._block_density, looks.density == "block")
        self._take(("eigenvalue",), self._eigenvalues, looks.eigenvalues)
        self._take(("lpf", "lpf_rise"), self._lpf, looks.lpf)
        self._take(("f_gap",), self._f_gap, looks.f_gap)
        self._take(("distance",), self._distance, looks.gap)
        self._take(("pgd",), self._pgd, looks.pgd)
        self._take(("missing",), self._missing, looks.missing)
        self._take(("noisy",), self._noisy, looks.noise)
        for own in looks.looks:
            self._take((own.name,), partial(self._own, own))
        return self.found, self.why

    def _take(self, names: Iterable[str], measure: Callable[[], Mapping[str, Any]], asked: Any = True) -> None:
        """One look; where the net cannot answer, NaN and why."""
        if not asked:
            return
        try:
            new = measure()
        except NO_ANSWER as error:
            new = dict.fromkeys(names, math.nan)
            self.why |= dict.fromkeys(names, _reason(error))
        self.found |= new
        self.on_look(new)

    def _own(self, own: Look) -> dict[str, Any]:
        return {own.name: own.function(self.model, self.seen)}

    def _clean(self) -> dict[str, Any]:
        clean = robustness.evaluate_under(self.model, self.seen, criterion=self.criterion)
        loss = clean.loss if self.criterion is None else self.loss.value()
        return {"loss": loss, "accuracy": clean.accuracy}

    def _landscape(self) -> dict[str, Any]:
        looks = self.looks
        plane = landscapes.plane(
            self.loss, looks.landscape or 0, looks.span, seed=looks.seed, tolerance=looks.tolerance
        )
        return {"landscape": plane.to_numpy()}

    def _density(self) -> dict[str, Any]:
        density = curvature.density(self.operator, steps=DENSITY_STEPS, probes=DENSITY_PROBES, seed=self.looks.seed)
        return {"density": on_lambdas(density.nodes, density.weights)}

    def _block_density(self) -> dict[str, Any]:
        import xarray as xr

        options = {"steps": DENSITY_STEPS, "probes": DENSITY_PROBES, "seed": self.looks.seed}
        each = curvature.by_block(self.loss, curvature.density, **options)
        stacked = np.stack([on_lambdas(one.nodes, one.weights) for one in each.values()])
        coords = {"block": list(each), "lambda_": lambdas().tolist()}
        return {"block_density": xr.DataArray(stacked, coords, ("block", "lambda_"))}

    def _eigenvalues(self) -> dict[str, Any]:
        import xarray as xr

        count = min(self.looks.eigenvalues, self.operator.size)
        found = curvature.top_eigenvalues(
            self.operator, count, tol=1e-2, seed=self.looks.seed, vectors=True, start=self.neighbour.vectors
        )
        self.neighbour.vectors, top = found.vectors, found.values.numpy()
        return {"eigenvalue": xr.DataArray(top, {"k": np.arange(1, len(top) + 1)}, ("k",))}

    def _lpf(self) -> dict[str, Any]:
        found = flatness.lpf(self.loss, self.looks.lpf or 0.0, LPF_SAMPLES, noise="filter", seed=self.looks.seed)
        return {"lpf": found.value, "lpf_rise": found.delta}

    def _f_gap(self) -> dict[str, Any]:
        radii = list(self.looks.f_gap)
        found = flatness.gap(self.loss, radii, GAP_DIRECTIONS, noise="filter", seed=self.looks.seed)
        return {"f_gap": found.values.numpy()}

    def _gap(self) -> dict[str, Any]:
        """Means over the pairs of modalities, of the latents that have a direction: some encoders give zeros, too."""
        w2, bias, ratio = [], [], []
        clouds = {m: z[z.norm(dim=1) > 0] for m, z in self.latents.items()}
        for m, z in clouds.items():
            if not len(z):
                raise ValueError(f"the latents of {m!r} are all zero; none has a direction")
        for a, b in combinations(clouds, 2):
            found = transport.modality_gap(clouds[a], clouds[b])
            w2.append(math.sqrt(found.w2_squared))
            ratio.append(found.variance_ratio)
        for z in clouds.values():
            unit = z / z.norm(dim=1, keepdim=True)
            bias.append(transport.sampling_bias(unit, splits=BIAS_SPLITS, seed=self.looks.seed).value)
        return {"w2": np.mean(w2), "w2_bias": np.mean(bias), "variance_ratio": np.mean(ratio)}

    def _distance(self) -> dict[str, Any]:
        self._check_latents("D")
        with eval_mode(self.model), torch.no_grad():
            found = self.model.latents({m: self.seen.inputs[m][:CLOUD] for m in self.names})  # type: ignore[operator]
        tokens, masks = apart(found)
        if len({z.ndim for z in tokens.values()}) > 1:
            tokens, masks = {m: pooled(z, masks.get(m)) for m, z in tokens.items()}, {}
        return {"distance": float(token_distances(tokens, masks, Transport()).mean())}

    def _by_modality(
        self, name: str, measure: Callable[[str], Any], dims: Mapping[str, Sequence[Any]] | None = None
    ) -> dict[str, Any]:
        """``measure`` of each modality; NaN and why for one that has no answer, the others keep theirs."""
        import xarray as xr

        coords = {"modality": list(self.tried), **(dims or {})}
        found = xr.DataArray(np.full([len(at) for at in coords.values()], np.nan), coords, tuple(coords))
        for m in self.tried:
            try:
                found.loc[{"modality": m}] = measure(m)
            except NO_ANSWER as error:
                self.why.setdefault(name, _reason(error))
        return {name: found}

    def _pgd(self) -> dict[str, Any]:
        def under(m: str) -> list[float]:
            return [
                robustness.pgd(
                    self.model, self.seen, m, eps, criterion=self.criterion, seed=self.looks.seed
                ).adversarial_accuracy
                for eps in self.looks.pgd
            ]

        return self._by_modality("pgd", under, {"eps": list(self.looks.pgd)})

    def _under(self, name: str, spoil: Callable[[Samples, str], Samples]) -> dict[str, Any]:
        def under(m: str) -> float:
            return robustness.evaluate_under(
                self.model, self.seen, lambda samples: spoil(samples, m), criterion=self.criterion
            ).accuracy

        return self._by_modality(name, under)

    def _missing(self) -> dict[str, Any]:
        share, seed = self.looks.missing or 0.0, self.looks.seed
        return self._under("missing", lambda samples, m: robustness.drop_modality(samples, m, share, seed))

    def _noisy(self) -> dict[str, Any]:
        size, seed = self.looks.noise or 0.0, self.looks.seed
        return self._under("noisy", lambda s, m: robustness.add_noise(s, m, size, relative=True, seed=seed))


def _reason(error: Exception) -> str:
    """Why a net has no answer, in one line. Memory that runs out is no answer of the net's, and goes on as it came."""
    if out_of_memory(error):
        raise error
    return str(error).split("\n")[0]
