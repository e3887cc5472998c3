"""Which looks are taken: their settings, what each fills, and a look of one's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from torch import nn

from ...data.samples import Samples
from ...sweeps.experiment import Variable
from ...utils import checks as check
from ...utils.registry import Registry
from ..curvature.spectral_axis import lambdas


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


# Looks that installed packages announce; those of the lab are settings of Looks.
LOOKS = Registry("look")


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
        """The variables that :func:`taken` fills, for nets that see some of ``modalities``."""
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
