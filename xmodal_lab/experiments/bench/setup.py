"""What a bench trains: the settings of data, net and recipe, what they mean, and which nets may train together."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from ...data.samples import Dataset
from ...models.encoders import ARCHITECTURES
from ...models.fusion import FUSIONS, LateFusion
from ...training import DivergedError, Options, Run, settings_of, stacking
from ...training.fitting import share_teachers
from ...training.options import OWN
from ...training.recipe import Recipe
from ...training.terms import Alignment, Connection, Latent, Shared, Term
from ...utils import checks as check
from ...utils.torch_state import pick_device
from ..world import DATA as DIGITS
from ..world import DatasetWorld, Values
from .shots import with_shots

# The digits world of dml, with the sentences that uml and synergy use. data_seed None: the world moves with the seed.
WORLD = ("image", "audio", "text")
DATA = {**DIGITS, "dataset_modalities": "+".join(WORLD), "data_seed": None}
# 60 epochs, Adam 1e-3, batch 64 as in fit; width 32, concatenation and one linear map (ours).
NET = {"modalities": "image+audio", "fusion": "concat_linear", "architecture": "mlp", "width": 32}
TRAINING = settings_of("label_smoothing")  # of which a recipe has its own
# Beside the recipe's settings: what may differ inside a stack.
FREE = tuple(name for name in TRAINING if name in OWN and name != "seed")
LABELS = {  # short: on a laptop all controls stand beside the pictures
    "share": "dml α: pairs anew",
    "a_latent": "synergy α: latent",
    "a_align": "wma α: align",
    "b_align": "wma β: target",
    "lam": "uml λ: unpaired",
    "a_connect": "cox: connection",
}


@dataclass(frozen=True, eq=False)
class Setup(DatasetWorld):
    """One recipe on one dataset: from settings to data, net and training."""

    recipe: Recipe = field(default_factory=Recipe)

    labels: ClassVar[Mapping[str, str]] = LABELS
    # As any object's: what it caches is its own.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __post_init__(self) -> None:
        super().__post_init__()
        check.instance("recipe", self.recipe, Recipe, "such as xl.recipes.dml(1.0)")
        known = {**self._data(), **NET, **TRAINING, **dict.fromkeys(self.shots)}
        for setting in self.recipe.settings:
            if setting in known:
                raise ValueError(f"the recipe's setting {setting!r} is taken by the bench; name yours otherwise.")

    # -- settings --------------------------------------------------------------------------------

    def _data(self) -> dict[str, Any]:
        return dict(DATA) if self.given is None else {}

    def known_modalities(self) -> tuple[str, ...]:
        """The modalities that the dataset has."""
        given = self.given
        return WORLD if given is None else given.modalities

    @property
    def target(self) -> str:
        """The modality whose shots are traded: the first."""
        return self.known_modalities()[0]

    @property
    def auxiliary(self) -> str | None:
        """The modality of unpaired rows, if the recipe has any."""
        return next((t.modality for t in self.recipe.terms if isinstance(t, Shared)), None)

    @property
    def shots(self) -> tuple[str, ...]:
        """The settings that limit rows, one of each modality that is traded."""
        return tuple(f"{m}_shots" for m in dict.fromkeys((self.target, self.auxiliary)) if m is not None)

    @property
    def defaults(self) -> dict[str, Any]:
        """All settings with their defaults."""
        net = dict(NET)
        if self.given is not None:
            others = [m for m in self.known_modalities() if m != self.auxiliary] or [self.target]
            net["modalities"] = "+".join(others)
        return {**self._data(), **net, **TRAINING, **self.recipe.settings, **dict.fromkeys(self.shots)}

    def recipe_of(self, s: Values) -> Recipe:
        """The recipe under these settings; shots of the auxiliary modality are those of its unpaired rows."""
        found: Recipe = self.recipe.with_settings(**{name: s[name] for name in self.recipe.settings})
        shots = s.get(f"{self.auxiliary}_shots")
        if not shots:
            return found
        return replace(found, terms=tuple(replace(t, shots=shots) if isinstance(t, Shared) else t for t in found.terms))

    def check(self, s: dict[str, Any]) -> None:
        """Refuse settings that make no sense.

        Raises:
            ValueError, TypeError: which, and what would.
        """
        known = self.known_modalities()
        check.modalities_of(check.instance("modalities", s["modalities"], str, "names joined by '+'").split("+"), known)
        recipe = self.recipe_of(s)
        Options(recipe=recipe, **{k: s[k] for k in TRAINING if k != "device"})
        self.check_data(s)
        check.one_of("fusion", s["fusion"], FUSIONS)
        check.one_of("architecture", s["architecture"], ARCHITECTURES)
        pick_device(s["device"])
        check.integer("width", s["width"], at_least=1)
        for setting in self.shots:
            if s[setting] is not None:
                check.integer(setting, s[setting], at_least=0 if setting == f"{self.auxiliary}_shots" else 1)

    def normal(self, s: dict[str, Any]) -> dict[str, Any]:
        """Without what makes no difference: what a weight of 0 leaves unused, partners of a lone modality."""
        s = dict(s)
        names, recipe = s["modalities"].split("+"), self.recipe
        if len(names) < 2 or s["pairing"] == "fixed" or s["share"] == 0:
            s |= {"pairing": "fixed", "share": 0.0}
        for part in recipe.terms:
            weight = part.weight_setting
            if weight is None:
                continue
            # Weight 0, no row to learn from, or a term that this net has no use for: all three train the same net.
            silent = isinstance(part, Shared) and s.get(f"{part.modality}_shots") == 0
            if s[weight] == 0 or silent or not applies(part, names):
                s |= {**part.settings, weight: 0.0}
        if self.auxiliary is not None and not any(
            s[str(t.weight_setting)] > 0 for t in recipe.terms if isinstance(t, Shared)
        ):
            s[f"{self.auxiliary}_shots"] = None
        return s

    # -- data and nets ---------------------------------------------------------------------------

    def load(self, s: Values) -> Dataset:
        """The dataset of these settings, with as many rows of each class as the shots say."""
        given = self.given
        if given is None:
            given = super().load(s)
        shots = s[f"{self.target}_shots"]
        if shots is None:
            return given
        some = with_shots(given, {self.target: shots}, s["seed"])
        if not any(isinstance(t, Latent) and t.teacher == self.target for t in self.recipe.terms):
            share_teachers(some, given)
        return some

    def net(self, s: Values, dataset: Dataset) -> LateFusion:
        """The net before training; with an encoder of the unpaired modality where its rows are used."""
        names = s["modalities"].split("+")
        lam = self.recipe_of(s).weights
        extra = [
            t.modality for t in self.recipe.terms
            if isinstance(t, Shared) and lam[t.called] > 0 and t.modality not in names
        ]  # fmt: skip
        options = {k: s[k] for k in ("fusion", "width", "architecture", "seed")}
        return LateFusion.for_dataset(dataset, names, auxiliary=tuple(extra), **options)

    # -- members ---------------------------------------------------------------------------------

    def stack_key(self, s: Values) -> Hashable:
        """Members with the same key train together: same data, net and seed, other weights and pairs."""
        free = {*FREE, *self.recipe.settings}
        if self.auxiliary != self.target:  # which rows are unpaired is each member's own
            free.add(f"{self.auxiliary}_shots")
        weights = self.recipe_of(s).weights
        used = tuple(t.called for t in self.recipe.terms if isinstance(t, Shared) and weights[t.called] > 0)
        return tuple((k, s[k]) for k in sorted(s) if k not in free), used

    def stack_pays(self, s: Values) -> bool:
        """Whether training together is faster; as measured for plain nets."""
        return stacking.pays(self.net(s, self.load(s)), s["device"])

    def train(self, members: Sequence[Values], dataset: Dataset, **how: Any) -> Sequence[Run | DivergedError]:
        """One trained net per member.

        Args:
            members: their settings, of one stack.
            dataset: what they learn.
            how: as in :func:`~xmodal_lab.training.stacking.fit_all`.
        """
        first, recipe = members[0], [self.recipe_of(s) for s in members]
        nets = [self.net(s, dataset) for s in members]
        shared: dict[str, Any] = {k: first[k] for k in TRAINING if k not in (*FREE, "device", "seed")}
        own: dict[str, Any] = {k: [s[k] for s in members] for k in (*FREE, "seed")}
        return stacking.fit_all(
            nets, dataset, recipe=recipe, device=first["device"], keep_on_device=True, **shared, **own, **how
        )


def applies(part: Term, modalities: Sequence[str]) -> bool:
    """Whether a term says anything about a net that sees these modalities."""
    if isinstance(part, (Alignment, Connection)):
        return len(modalities) > 1
    if isinstance(part, Latent) and part.of is None:
        return any(m != part.teacher for m in modalities)
    return True
