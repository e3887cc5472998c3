"""The experiment of synergy as a sweep sees it: settings, checks, and what one member returns."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from ...data.samples import Dataset
from ...experiments.world import DATA as DIGITS
from ...experiments.world import DatasetWorld, world_of
from ...models import stacked as nets
from ...sweeps.experiment import Experiment, Report, Variable, on_demand, tell
from ...training.targets import LOSSES
from ...utils import checks as check
from ...utils.torch_state import pick_device
from .method.targets import PAPERS_OWN, applicable
from .method.training import Plan, Values, accuracy, train
from .method.views import TESTS
from .method.watching import DISTANCES, Watch, alone, distances, moments, triangle
from .worlds import direction_of

# Digits, whole pictures (DIGITS keeps a quarter of their energy), 100 and 160 of each class (ours).
DATA = {**DIGITS, "dataset_modalities": "image+audio+text", "images_per_class": 100, "image_energy": 1.0}
DEFAULTS: dict[str, Any] = {
    "direction": "L→V", "target": "imperfect", "alpha": 0.3, "loss": "mse_mean", "weight_decay": 0.0, "redraw": True,
    "rows_per_class": 0, "steps": 400, "batch_size": 32, "lr": 1e-3, "hidden": 64, "width": 64, "architecture": "mlp",
    "resolution": 16, "teacher_share": 0.4, "teacher_steps": 300, "noise_variance": 1e-3, "length": 4.0, "severity": 3,
    "watch": 0, "points": 0, "seed": 0, "device": "auto",
}  # fmt: skip
# alpha 0.3 (Sec 4.1), batch 32 and Adam 1e-3 (App B.2), noise variance 1e-3 (Tab 5); the rest ours. The paper trains
# 30 epochs; 400 steps are 13 of the digits world.
FREE = ("target", "alpha", "loss", "weight_decay", "redraw", "lr", "seed")
LABELS = {"alpha": "α, weight of the latent loss", "weight_decay": "weight decay", "direction": "[M_j → M_i]"}
TRIANGLE = {"delta_i": "Δ_i", "delta_j": "Δ_j", "delta_k": "Δ̂_k", "delta": "δ", "alpha_star": "α* (raw)"}


@dataclass(frozen=True)
class SynergyWorld(DatasetWorld):
    """Training [M_j → M_i] on the digits world, or on a dataset of one's own."""

    name: ClassVar[str] = "synergy"
    labels: ClassVar[Mapping[str, str]] = LABELS

    @property
    def defaults(self) -> dict[str, Any]:
        """All settings with their defaults."""
        return {**(DATA if self.given is None else {}), **DEFAULTS}

    def stack_key(self, s: Values) -> Hashable:
        """Members with the same key train together: their latent losses, seeds and rates are numbers."""
        return tuple((k, v) for k, v in sorted(s.items()) if k not in FREE)

    def stack(self, members: list[dict[str, Any]], report: Report) -> list[dict[str, Any]]:
        """Nets of one direction, trained together, and what is asked of each."""
        import xarray as xr

        world = direction_of(self, members[0])
        plan = Plan.of(world, members)
        watch, steps = Watch(world, members, plan), members[0]["steps"]

        def on_step(step: int, params: Any) -> None:
            report(step / steps, f"step {step} of {steps}")
            watch(step, params)
            if step in watch.moments and len(watch.latent_loss) > 1:
                tell(report, lambda: {"latent_loss": _relative(watch, 0, _shares(members[0]))})

        params = train(world, members, plan, [s["seed"] for s in members], on_step)
        scores = torch.stack([accuracy(params, world.x[name], world.y["test"]) for name in TESTS], 1)
        val, floors = accuracy(params, world.x["val"], world.y["val"]), watch.floor().cpu()
        results = []
        for k in range(len(members)):
            one: dict[str, Any] = {"accuracy": scores[k].numpy(), "val_accuracy": float(val[k])}
            if watch.moments:
                start = watch.latent_loss[0][k].cpu().double().clamp_min(1e-30)
                one |= {"latent_loss": _relative(watch, k).to_numpy(), "latent_floor": float(floors[k] / start)}
            if watch.moments and watch.points:
                one |= {
                    name: xr.DataArray(v, {"moment": _shares(members[0])}) for name, v in distances(watch, k).items()
                }
                one |= triangle(watch, k)
            results.append(one)
        return results

    def variables(self, values: Mapping[str, tuple[Any, ...]]) -> dict[str, Variable]:
        """Accuracies, and what is watched.

        Raises:
            ValueError: members that would be watched at different moments.
        """
        declared = {
            "accuracy": Variable({"test": TESTS}, "test accuracy"),
            "val_accuracy": Variable(label="validation accuracy"),
        }
        watched, points = set(values["watch"]) - {0}, set(values["points"]) - {0}
        if watched:
            if len(set(values["watch"])) > 1 or len(set(values["steps"])) > 1:
                raise ValueError(
                    "all members of a sweep share the moments at which one looks; give one watch and one steps."
                )
            shares = {"moment": _shares({"steps": values["steps"][0], "watch": watched.pop()})}
            asked = {
                "latent_loss": Variable(shares, "latent loss / its start"),
                "latent_floor": Variable(label="least latent loss / start"),
            }
            if points:
                asked |= {name: Variable(shares, label) for name, label in DISTANCES.items()}
                asked |= {name: Variable(label=label) for name, label in TRIANGLE.items()}
            declared |= on_demand(asked)
        return declared

    def normal(self, s: dict[str, Any]) -> dict[str, Any]:
        """Names of one thing brought together; without a latent loss, what it would be makes no difference."""
        s = {**super().normal(s), "direction": s["direction"].replace("->", "→")}
        if s["target"] == "imperfect":
            s["target"] = PAPERS_OWN[s["direction"]]
        if s["target"] == "paired" and s["direction"].startswith("L"):
            s["target"] = "description"
        if not s["watch"] and (s["target"] == "none" or s["alpha"] == 0):
            return {**s, "target": "none", "alpha": 0.0, "loss": "mse_mean", "redraw": True}
        return s

    def check(self, s: dict[str, Any]) -> None:
        """Refuse settings that make no sense.

        Raises:
            ValueError, TypeError: which, and what would.
        """
        self.check_data(s)
        pick_device(s["device"])
        direction = str(s["direction"]).replace("->", "→")
        if s["target"] != "imperfect":
            applicable(s["target"], direction)
        check.one_of("direction", direction, PAPERS_OWN)
        check.one_of("loss", s["loss"], LOSSES)
        check.one_of("architecture", s["architecture"], nets.ARCHITECTURES)
        check.share("alpha", s["alpha"])
        check.positive("teacher_share", s["teacher_share"])
        if s["teacher_share"] >= 1:
            raise ValueError("teacher_share must lie below 1: targets come from rows that M_j did not learn from.")
        for name in ("weight_decay", "noise_variance", "length"):
            check.non_negative(name, s[name])
        check.positive("lr", s["lr"])
        for name, least in (
            ("steps", 1), ("batch_size", 1), ("hidden", 1), ("width", 2), ("teacher_steps", 1), ("rows_per_class", 0),
            ("resolution", 0), ("watch", 0), ("points", 0), ("seed", 0),
        ):  # fmt: skip
            check.integer(name, s[name], at_least=least)
        if s["severity"] not in (1, 2, 3, 4, 5):
            raise ValueError(f"severity must be 1, 2, 3, 4 or 5, got {s['severity']!r}.")


def experiment(dataset: Dataset | None = None, **defaults: Any) -> Experiment:
    """Training [M_j → M_i], on the digits world or on a dataset of one's own, with other defaults.

    Variables: ``accuracy`` over ``test`` (clean, shifted, occluded, noisy), ``val_accuracy``. With ``watch`` = n,
    at n moments of training (``moment``, a share): ``latent_loss`` relative to its start on the validation split,
    and its floor ``latent_floor``. With ``points`` as well, the W2 of ``watching.DISTANCES`` between clouds of so
    many test points, and ``delta_i``, ``delta_j``, ``delta_k``, ``delta`` and ``alpha_star`` at the end.

    Settings: ``direction``: "L→V", ...; ``target``: a name of ``targets.KINDS``, or "imperfect" for what the paper's
    Tab 5 takes in this direction; ``alpha``, ``loss`` ("mse_mean", "mse_sum", "cosine"), ``weight_decay``; ``redraw``:
    draw the target anew each time a row is seen (True), or once; ``rows_per_class`` of M_i, 0 for all; ``length``:
    the mean length that latents of M_j are brought to, 0 for as they are; ``teacher_share``: of M_j's rows that it
    learns from and M_i never uses.

    Args:
        dataset: used instead of the digits world, whose settings then go.
        defaults: other default values.

    Returns:
        An experiment for :func:`~xmodal_lab.sweep` and for explorers.

    Raises:
        ValueError, TypeError: an unknown setting, a value that makes no sense.
    """
    return SynergyWorld(dataset).experiment(**defaults)


def clouds(experiment: Experiment, **settings: Any) -> dict[str, torch.Tensor]:
    """Latents of test rows after training, (n, d) each: "z_i" (M_i alone), "ẑ_k", "z_j", and "z*" where rows have both.

    z* is that of a net that sees both modalities, a stand-in: the paper names none.

    Args:
        experiment: of this paper.
        settings: other than its defaults.

    Returns:
        Name -> latents (n, d), on the CPU.

    Raises:
        ValueError: settings that make no sense.
    """
    source = world_of(experiment, SynergyWorld)
    s = source.normal(experiment.settings(**{"watch": 1, "points": 1, **settings}))
    world = direction_of(source, s)
    plan = Plan.of(world, [s])
    watch = Watch(world, [s], plan)
    train(world, [s], plan, [s["seed"]], watch)
    latents: dict[str, torch.Tensor] = {
        "z_i": alone(world, [s], s["seed"], s["seed"])[-1],
        "ẑ_k": watch.clouds[-1][0],
        "z_j": world.teacher.z_j,
    }
    ideal = world.ideal(s["seed"])
    latents = latents if ideal is None else {**latents, "z*": ideal}
    return {name: z.cpu() for name, z in latents.items()}


def _relative(watch: Watch, k: int, moments: Sequence[float] | None = None) -> Any:
    """Latent loss of member ``k`` relative to its start, at the moments that were."""
    import xarray as xr

    curve = torch.stack(watch.latent_loss)[:, k].cpu().double()
    at = {} if moments is None else {"moment": list(moments)[: len(curve)]}
    return xr.DataArray((curve / curve[0].clamp_min(1e-30)).numpy(), at, ("moment",))


def _shares(s: Values) -> list[float]:
    return [round(step / s["steps"], 6) for step in moments(s["steps"], s["watch"])]


EXPERIMENT = experiment()
