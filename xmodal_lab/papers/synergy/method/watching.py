"""What is watched while M_i trains: the latent loss, and W2 between the clouds of z_i, ẑ_k and z_j (synergy Fig 3, 4).

Clouds are of test rows. Every distance is between *different* rows, so that all carry the same sampling bias, and the
bias itself (W2 between two halves of z_i) stands beside them. z_i comes twice: from the same starting parameters as
ẑ_k, and from others; distances between separately started nets also measure how their axes happen to lie.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ....instruments import transport
from ....losses import Params
from ....models import stacked as nets
from ....training.targets import latent_losses
from ....utils.factors import principal_components
from ..worlds import Direction
from .training import Plan, Values, train

# Distances, by name: what stands on either side.
DISTANCES = {
    "w2_ij": "W2(z_i, z_j)",
    "w2_ki": "W2(ẑ_k, z_i), one start",
    "w2_kj": "W2(ẑ_k, z_j)",
    "w2_ki_apart": "W2(ẑ_k, z_i), separate starts",
    "w2_ii_apart": "W2(z_i, z_i), separate starts",
    "w2_ii": "W2 between halves of z_i (bias)",
}
APART = 10_000  # added to a seed: a start that no member has


def moments(steps: int, watch: int) -> list[int]:
    """``watch`` steps at which one looks, from 0 (before training) to the last, denser early."""
    if watch < 2:
        return [steps] if watch else []
    return sorted({round(steps * (i / (watch - 1)) ** 2) for i in range(watch)})


def halves(z: Tensor, points: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Two disjoint random parts of at most ``points`` rows each, the same rows for every cloud of this length."""
    order = torch.randperm(len(z), generator=torch.Generator().manual_seed(seed + 5)).to(z.device)
    half = min(points, len(z) // 2)
    return z[order[:half]], z[order[half : 2 * half]]


class Watch:
    """Looks at stacked members while they train; give it to ``train`` as ``on_step``."""

    def __init__(self, world: Direction, members: Sequence[Values], plan: Plan) -> None:
        first = members[0]
        self.world, self.members, self.plan = world, members, plan
        self.points, self.moments = first["points"], moments(first["steps"], first["watch"])
        self.latent_loss: list[Tensor] = []
        self.clouds: list[Tensor] = []

    def __call__(self, step: int, params: Params) -> None:
        """Look, if this is a moment to look at."""
        if step not in self.moments:
            return
        with torch.no_grad():
            z = nets.features(params, self.world.x["val"])
            target = self.plan.latents[self.plan.val_targets]
            self.latent_loss.append(latent_losses(z, target, [s["loss"] for s in self.members]))
            if self.points:
                self.clouds.append(nets.features(params, self.world.x["clean"]))

    def floor(self) -> Tensor:
        """(K,) the least latent loss that any g can reach that does not know the drawn target: its loss at the mean."""
        target = self.plan.latents[self.plan.val_targets]
        return latent_losses(target.mean(1, keepdim=True).expand_as(target), target, [s["loss"] for s in self.members])


def alone(world: Direction, members: Sequence[Values], seed: int, start: int) -> list[Tensor]:
    """Clouds of M_i trained alone (α = 0), at the moments of ``members``; kept in the world's memory.

    Args:
        world: of the members.
        members: what else will be asked for: the first call trains all of their baselines as one stack.
        seed, start: of the batches and of the starting parameters; a member's seed, and that or ``APART`` more.
    """
    free = ("alpha", "target", "loss", "redraw", "seed", "weight_decay", "lr")
    kind = ("alone", tuple((k, v) for k, v in sorted(members[0].items()) if k not in free))
    wanted = dict.fromkeys([(seed, start), *((s["seed"], s["seed"] + shift) for s in members for shift in (0, APART))])
    missing = [pair for pair in wanted if (*kind, *pair) not in world.memory]
    if (seed, start) in missing:
        plain = {"alpha": 0.0, "target": "none", "loss": "mse_mean", "redraw": True, "weight_decay": 0.0, "lr": 1e-3}
        nets_alone = [{**members[0], **plain, "seed": pair[0]} for pair in missing]
        plan = Plan.of(world, nets_alone)
        watch = Watch(world, nets_alone, plan)
        train(world, nets_alone, plan, [pair[1] for pair in missing], watch)
        for k, pair in enumerate(missing):
            world.memory[(*kind, *pair)] = [cloud[k] for cloud in watch.clouds]
    clouds: list[Tensor] = world.memory[(*kind, seed, start)]
    return clouds


def distances(watch: Watch, k: int) -> dict[str, list[float]]:
    """Each of :data:`DISTANCES` at each moment, for member ``k``."""
    s, world = watch.members[k], watch.world
    same, apart = (alone(world, watch.members, s["seed"], s["seed"] + shift) for shift in (0, APART))
    curves: dict[str, list[float]] = {name: [] for name in DISTANCES}
    for at, clouds in enumerate(watch.clouds):
        shared = world.memory.setdefault(("w2", s["seed"], watch.points, at, id(same)), {})
        z_k = halves(clouds[k], watch.points)[0]
        (i_a, i_b), (_, apart_b), (_, j_b) = (halves(z, watch.points) for z in (same[at], apart[at], world.teacher.z_j))
        if not shared:
            shared.update(w2_ij=_w2(i_a, j_b), w2_ii=_w2(i_a, i_b), w2_ii_apart=_w2(i_a, apart_b))
        here = {"w2_ki": _w2(z_k, i_b), "w2_kj": _w2(z_k, j_b), "w2_ki_apart": _w2(z_k, apart_b), **shared}
        for name in DISTANCES:
            curves[name].append(here[name])
    return curves


def triangle(watch: Watch, k: int) -> dict[str, float]:
    """Δ_i, Δ_j, Δ̂_k, δ and α* (raw, by Eq 4) at the end, with the stand-in of P*; NaN where there is none."""
    s, world = watch.members[k], watch.world
    names = ("delta_i", "delta_j", "delta_k", "delta", "alpha_star")
    ideal = world.ideal(s["seed"])
    if ideal is None or not watch.clouds:
        return dict.fromkeys(names, math.nan)
    z_i = alone(world, watch.members, s["seed"], s["seed"])[-1]
    star = halves(ideal, watch.points)[1]
    a_i, a_j, a_k = (halves(z, watch.points)[0] for z in (z_i, world.teacher.z_j, watch.clouds[-1][k]))
    drawn = watch.plan.latents[watch.plan.targets[k].flatten()[: 2 * watch.points]]
    sides = {"delta_i": _w2(star, a_i), "delta_j": _w2(star, a_j), "delta_k": _w2(star, a_k)}
    sides["delta"] = _w2(halves(world.teacher.z_j, watch.points)[1], halves(drawn, watch.points)[0])
    side = _w2(a_i, halves(world.teacher.z_j, watch.points)[1])
    raw = (sides["delta_i"] ** 2 - sides["delta_j"] ** 2 + side**2) / (2 * side**2) if side else math.nan
    return {**sides, "alpha_star": raw}


def _w2(a: Tensor, b: Tensor) -> float:
    return float(transport.w2(a, b))


def embedding(clouds: dict[str, Tensor], method: str = "tsne", seed: int = 0) -> Any:
    """The clouds in the plane: a DataFrame with columns x, y and cloud (synergy Fig 3).

    A picture of neighbours only: both methods draw separate clouds apart, whatever lies between them.

    Args:
        clouds: name -> (n, d).
        method: "tsne" (the paper's) or "umap".
        seed: of the method.

    Raises:
        ValueError: another method, no cloud, clouds of different dimension.
    """
    import pandas as pd

    from ....utils import checks as check

    check.one_of("method", method, ("tsne", "umap"))
    if not clouds or len({z.shape[1] for z in clouds.values()}) > 1:
        raise ValueError("embedding needs clouds of one dimension d, each (n, d).")
    points = torch.cat(list(clouds.values())).numpy()
    names = [name for name, z in clouds.items() for _ in range(len(z))]
    if method == "tsne":
        from sklearn.manifold import TSNE

        # What init="pca" does, with definite signs.
        start = principal_components(torch.from_numpy(points), 2)(torch.from_numpy(points)).numpy()
        start = 1e-4 * start / max(float(start[:, 0].std()), 1e-30)
        flat = TSNE(perplexity=min(30.0, (len(points) - 1) / 3), random_state=seed, init=start).fit_transform(points)
    else:
        import umap

        flat = umap.UMAP(random_state=seed, n_jobs=1, n_neighbors=min(15, len(points) - 1)).fit_transform(points)
    return pd.DataFrame({"x": flat[:, 0], "y": flat[:, 1], "cloud": names})
