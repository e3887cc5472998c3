"""One look at a trained net: landscape, spectrum, gap, flatness and robustness of one setting, in one Dataset.

:func:`look` takes them at one net, :func:`along` at every checkpoint of a training, with a dim "epoch".

Every look has the same coordinates for every net, one λ grid above all, so that looks can be laid side by side. What
a net cannot answer (the gap of a lone modality) is NaN, and ``attrs["why"]`` says why.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property, partial
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from ..data.labels import task_of
from ..data.samples import Samples
from ..losses import Loss, Params
from ..losses.module_loss import loss_on
from ..models.any_batch import BATCHES, Called, on_samples, tried
from ..models.copies import copy_of
from ..models.evaluation import device_of, eval_mode
from ..models.latents import answering, apart, latents_of, pooled
from ..sweeps.experiment import Variable, of_values
from ..training.alignment import Transport, token_distances
from ..utils import checks as check
from ..utils.memory import out_of_memory
from ..utils.registry import Registry
from . import curvature, flatness, robustness, transport
from . import landscape as landscapes
from .curvature.checked import checked_once
from .curvature.spectral_axis import lambdas, on_lambdas

if TYPE_CHECKING:
    import xarray as xr

DENSITY_STEPS, DENSITY_PROBES = 30, 2  # of stochastic Lanczos (ours: a look of a digits MLP takes a second)
LPF_SAMPLES, GAP_DIRECTIONS = 20, 20  # draws of the LPF and of F_gap (dml: 10 to 50, and 100)
CLOUD = 300  # rows of the clouds between which W2 is measured, at most (ours)
SOURCE = "xmodal_lab look"  # begins with what is to be cited
BIAS_SPLITS = 3  # of the sampling bias of W2 (ours)


@dataclass(frozen=True)
class Look:
    """A look of one's own: a name, and a function of a net and samples.

    Attributes:
        name: of the variable.
        function: (model, samples) → a number, an array, or a DataArray.
        dims: its own dimensions, name -> coordinates.
        label, units: as axes write them.

    Example:
        >>> import xmodal_lab as xl
        >>> norm = xl.Look("norm", lambda net, samples: max(float(p.detach().norm()) for p in net.parameters()))
        >>> ds = xl.load("shapes", modalities=("image", "audio"), n_train=40, n_test=20)
        >>> found = xl.look(xl.LateFusion.for_dataset(ds, architecture="mlp"), ds.test, looks=[norm])
        >>> bool(found.norm > 0)
        True
    """

    name: str
    function: Callable[[nn.Module, Samples], Any]
    dims: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    label: str = ""
    units: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.isidentifier():
            raise ValueError(f"a look needs a name such as 'norm', got {self.name!r}.")
        check.function(f"the look {self.name!r}", self.function, "of a net and samples")


# What a look raises over a net, or one modality of it, that cannot answer.
NO_ANSWER = (ValueError, TypeError, NotImplementedError, RuntimeError, ArithmeticError)
# Looks that installed packages announce; those of the lab are settings of Looks.
LOOKS = Registry("look")


@dataclass(eq=False)
class Neighbour:
    """What the looks at one net leave for those at the next one along a path: its leading eigenvectors."""

    vectors: Sequence[Params] = ()


@dataclass(frozen=True)
class Looks:
    """Which looks are taken; :func:`look` says what each setting means.

    Raises:
        ValueError, TypeError: a setting that makes no sense, two looks of one name.
    """

    landscape: int | None = None
    span: float = 1.0
    tolerance: float | None = None
    density: bool | str = False
    eigenvalues: int = 0
    lpf: float | None = None
    f_gap: Sequence[float] = ()
    gap: bool = False
    pgd: Sequence[float] = ()
    missing: float | None = None
    noise: float | None = None
    seed: int = 0
    looks: Sequence[Look] = ()
    rows: int | None = None

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        if self.landscape is not None:
            side = check.integer("landscape (points along a side)", self.landscape)
            set_(self, "landscape", side and check.integer("landscape (points along a side)", side, at_least=3))
        set_(self, "span", check.positive("span", self.span))
        if self.tolerance is not None:
            set_(self, "tolerance", check.positive("tolerance", self.tolerance))
        if not isinstance(self.density, int | str) or self.density not in (False, True, "block"):
            raise ValueError(f"density must be True, False or 'block', got {self.density!r}.")
        set_(self, "eigenvalues", check.integer("eigenvalues", self.eigenvalues, at_least=0))
        if self.lpf is not None:
            set_(self, "lpf", check.positive("lpf (σ, a share of each filter's norm)", self.lpf))
        for name in ("f_gap", "pgd"):
            given = getattr(self, name)
            values = [given] if isinstance(given, (int, float)) else check.listed(name, () if given is None else given)
            set_(self, name, tuple(check.positive(name, v) for v in values))
        for name in ("missing", "noise"):
            if getattr(self, name) is not None:
                set_(self, name, (check.share if name == "missing" else check.positive)(name, getattr(self, name)))
        set_(self, "seed", check.integer("seed", self.seed, at_least=0))
        if self.rows is not None:
            set_(self, "rows", check.integer("rows", self.rows, at_least=2))
        own = self.looks
        if isinstance(own, Mapping):
            own = [Look(name, function) for name, function in own.items()]
        own = [own] if isinstance(own, Look | str) else check.listed("looks", own)
        own = [LOOKS.get(one) if isinstance(one, str) else one for one in own]
        set_(
            self, "looks", tuple(check.instance("a look", one, Look, "made by xl.Look(name, function)") for one in own)
        )
        names = [*self._built_in(("image",)), *(one.name for one in self.looks)]
        if twice := sorted({n for n in names if names.count(n) > 1}):
            raise ValueError(f"the name {twice[0]!r} is taken: two looks would fill one variable. Rename yours.")

    def told(self) -> dict[str, Any]:
        """The settings that differ from their defaults; looks of one's own by name."""
        asked = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}
        asked = {k: list(v) if isinstance(v, tuple) else v for k, v in asked.items() if v != ()}
        return asked | ({"looks": [one.name for one in self.looks]} if self.looks else {})

    def variables(self, modalities: Sequence[str], blocks: Sequence[str] = ()) -> dict[str, Variable]:
        """The variables that :meth:`of` fills, for nets that see some of ``modalities``."""
        found = self._built_in(modalities, blocks)
        return found | {one.name: Variable(one.dims, one.label or one.name, one.units) for one in self.looks}

    def _built_in(self, modalities: Sequence[str], blocks: Sequence[str] = ()) -> dict[str, Variable]:
        number = Variable
        found = {"loss": number(label="loss", units="nats"), "accuracy": number(label="accuracy")}
        if self.landscape:
            steps = np.linspace(-self.span, self.span, self.landscape).tolist()
            found["landscape"] = Variable({"a": steps, "b": steps}, "loss", "nats", "float32")
        if self.density:
            at: dict[str, Sequence[Any]] = {"lambda_": lambdas().tolist()}
            found["density"] = Variable(at, "spectral density, per unit of asinh(λ / 0.1)", dtype="float32")
            if self.density == "block":
                found["block_density"] = Variable({"block": list(blocks), **at}, "spectral density", dtype="float32")
        if self.eigenvalues:
            found["eigenvalue"] = Variable({"k": range(1, self.eigenvalues + 1)}, "eigenvalue of the Hessian")
        if self.lpf is not None:
            found |= {"lpf": number(label="L_LPF", units="nats"), "lpf_rise": number(label="Δ_LPF", units="nats")}
        if self.f_gap:
            found["f_gap"] = Variable({"radius": self.f_gap}, "F_gap", "nats")
        if self.gap:
            found |= {
                "w2": number(label="W2 between the modalities"),
                "w2_bias": number(label="W2 of two halves of one cloud"),
                "variance_ratio": number(label="variance ratio"),
                "distance": number(label="D, cost between a row's latents"),
            }
        lone = {"modality": list(modalities)}
        if self.pgd:
            found["pgd"] = Variable({**lone, "eps": self.pgd}, "accuracy under PGD")
        if self.missing is not None:
            found["missing"] = Variable(lone, f"accuracy, {self.missing:.0%} of the rows without")
        if self.noise is not None:
            found["noisy"] = Variable(lone, f"accuracy under noise of {self.noise:g} standard deviations")
        return found

    def of(
        self,
        model: nn.Module,
        samples: Samples,
        criterion: Any = None,
        neighbour: Neighbour | None = None,
        on_look: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """What each look found, name -> number, array or DataArray; and why there is nothing, where there is.

        Args:
            model, samples, criterion: as in :func:`look`.
            neighbour: what a net nearby has left, to start from, and where this one leaves its own.
            on_look: hears of each look as it is done.
        """
        told = on_look or (lambda _: None)
        return _Taking(self, model, samples, criterion, neighbour or Neighbour(), told).all()


def looks_of(given: Looks | Mapping[str, Any] | None) -> Looks:
    """The looks that a mapping of their settings asks for; none but accuracy and loss for None.

    Raises:
        ValueError, TypeError: no mapping, or a look that there is not.
    """
    if isinstance(given, Looks):
        return given
    asked = check.mapping("looks", {} if given is None else given, "settings")
    return Looks(
        **{check.one_of("look", name, [f.name for f in fields(Looks)]): value for name, value in asked.items()}
    )


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
    found, why = chosen.of(model, samples, criterion, neighbour)
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
