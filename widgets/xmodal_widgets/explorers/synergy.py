"""synergy: direction, target, α and loss; accuracy, latent loss and distances between the clouds.

Opens on a cube that ``make cubes`` computed. "Train here" trains the exact setting. Two more views are computed on
the spot: :func:`triangle` (Theorem 1, all corners draggable) and :func:`cigars` (three couplings of three Gaussians).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..sweep_view import SweepView
from ..view.kinds import Bars, Lines, Scatter
from . import shipped

if TYPE_CHECKING:
    import xarray as xr

AXES: dict[str, list[Any]] = {
    "direction": ["L→V", "L→A", "A→L", "V→A", "A→V"],
    "target": ["imperfect", "same_class", "paired", "constant", "zero"],
    "loss": ["mse_mean", "mse_sum", "cosine"],
    "alpha": [0.0, 0.1, 0.3, 0.5, 0.7, 0.9],
    "seed": [0, 1, 2],
}
# 300 steps and 32 hidden units keep the cube quick to compute; the rest as in lesson 01.
FIXED: dict[str, Any] = {"steps": 300, "hidden": 32, "watch": 5, "points": 40}
W2 = ("w2_ij", "w2_ki", "w2_kj", "w2_ki_apart", "w2_ii_apart", "w2_ii")
PAIRS = ["z_i z_j", "ẑ_k z_i", "ẑ_k z_j", "ẑ_k z_i, apart", "z_i z_i, apart", "z_i z_i, halves"]
LAWS = ["P*", "P_i", "P_j"]
SIDES = ["P* to P_i", "P* to P_j", "P_i to P_j", "P* to P_k"]
CONTROL = {"target": "constant"}  # what the gains are paired with
DOTS = 9  # along each side of a drawn triangle
VARIABLES = ("accuracy", "clean", "spoilt", "latent_loss", "w2", "right", "up")
# Tab 8: how much the sentence says; only where M_j is the language model. "Follow" trains them.
LEVELS = {
    "level 1: unrelated": "unrelated", "level 2: random class": "random_class", "level 3: description": "description",
}  # fmt: skip
CONTROLS = {"data": ["direction"], "method": ["target", "loss", "alpha"], "training": ["seed"]}


def open(
    views: Any = None, controls: Any = None, compute: Callable[..., Any] | None = None, **options: Any
) -> SweepView:
    """The explorer of synergy.

    Args:
        views, controls: in place of the default ones.
        compute: what "Train here" runs; trains the exact setting by default.
        options: ``title``, ``average``, and a value for any control.
    """
    shown = views or [
        Lines(
            "clean",
            x="alpha",
            hue="target",
            band="seed",
            versus=CONTROL,
            title="test accuracy: what does the target add to a constant one?",
        ),
        Lines(
            "spoilt", x="alpha", hue="target", band="seed", versus=CONTROL, title="the same, mean of the spoilt tests"
        ),
        Bars("accuracy", x="test", hue="target", band="seed", title="clean, shifted and corrupted tests"),
        Lines("w2", x="moment", hue="pair", band="seed", fit=True, title="W2 between the clouds, in training"),
        Lines("latent_loss", x="moment", hue="target", band="seed", fit=True, title="latent loss / its start"),
        Scatter(
            "right",
            "up",
            color="side",
            points="dot",
            fit=True,
            curves=True,
            equal=True,
            title="the triangle of Theorem 1, measured",
        ),
    ]
    opening: dict[str, Any] = {"title": "synergy: what does the other modality's latent add?", "alpha": 0.3}
    opening["offers"] = {"target": list(LEVELS)}
    controls = controls or CONTROLS
    return SweepView(shipped.load("synergy"), shown, controls, compute=compute or train_here, **(opening | options))


def compute_cube(axes: Mapping[str, Any] = AXES, **options: Any) -> xr.Dataset:
    """The cube on ``axes``, as float32; ``options`` go to :func:`xmodal_lab.sweep`."""
    import xarray as xr

    import xmodal_lab as xl

    found = xl.sweep("synergy", **axes, **FIXED, **options)
    cube = found[["accuracy", "latent_loss"]]
    cube["clean"] = cube["accuracy"].sel(test="clean", drop=True)
    cube["spoilt"] = cube["accuracy"].isel(test=slice(1, None)).mean("test", keep_attrs=True)
    cube["w2"] = xr.concat([found[name] for name in W2], xr.IndexVariable("pair", PAIRS))
    cube["w2"].attrs["long_name"] = "W2"
    last = {name: found[name].isel(moment=-1).values for name in ("w2_ij", "w2_ki", "w2_kj")}
    points = sides(found["delta_i"].values, found["delta_j"].values, last["w2_ij"], last["w2_ki"], last["w2_kj"])
    for name, values in zip(("right", "up"), np.moveaxis(points, -1, 0), strict=True):
        cube[name] = ((*found["delta_i"].dims, "dot"), values)
    cube["right"].attrs["long_name"] = "distance along z_i to z_j"
    cube["up"].attrs["long_name"] = "distance away from that line"
    cube = cube.astype("float32")
    cube["side"] = _side_classes()
    cube["moment"].attrs["long_name"] = "share of the training"
    return cube


def sides(d_i: Any, d_j: Any, d_ij: Any, d_ki: Any, d_kj: Any) -> np.ndarray:
    """Dots on the sides of the triangle in the plane, (..., 4 sides · dots, 2).

    P_i lies at 0 and P_j at (Δ_ij, 0); P* and P_k by their distances to both, or where these are no triangle, on the
    line at the nearest point. The sides are those of :data:`SIDES`.
    """
    between = np.asarray(d_ij, dtype=float)

    def placed(to_i: Any, to_j: Any) -> np.ndarray:
        along = (np.square(to_i) - np.square(to_j) + between**2) / (2 * between)
        return np.stack([along, np.sqrt(np.clip(np.square(to_i) - along**2, 0, None))], -1)

    p_i, p_j = (np.stack([x, np.zeros_like(x)], -1) for x in (np.zeros_like(between), between))
    star, p_k = placed(d_i, d_j), placed(d_ki, d_kj)
    step = np.linspace(0, 1, DOTS)[:, None]
    ends = ((star, p_i), (star, p_j), (p_i, p_j), (star, p_k))
    return np.concatenate([a[..., None, :] * (1 - step) + b[..., None, :] * step for a, b in ends], -2)


def _side_classes() -> tuple[str, np.ndarray, dict[str, Any]]:
    return "dot", np.repeat(np.arange(len(SIDES)), DOTS), {"long_name": "side", "flag_meanings": SIDES}


def train_here(
    setting: Mapping[str, Any], progress: Callable[..., None], cancelled: Callable[[], bool]
) -> dict[str, Any]:
    """Train one setting, for the view's "Train here"; ``progress`` leaves it when the reader cancels."""
    from xmodal_lab.sweeps.experiment import get

    experiment = get("synergy")
    asked = {k: v for k, v in setting.items() if k in experiment.defaults}
    asked["target"] = LEVELS.get(asked["target"], asked["target"])
    found = experiment.member(experiment.settings(**{**FIXED, **asked}), progress)
    distances = np.stack([np.asarray(found[name]) for name in W2])
    points = sides(found["delta_i"], found["delta_j"], *distances[:3, -1])
    accuracy = np.asarray(found["accuracy"])
    result = {"accuracy": accuracy, "clean": accuracy[0], "spoilt": accuracy[1:].mean()}
    result["latent_loss"] = np.asarray(found["latent_loss"])
    return {**result, "w2": distances, "right": points[..., 0], "up": points[..., 1]}


def triangle(**options: Any) -> SweepView:
    """Theorem 1 live: drag the corners P*, P_i and P_j; the triangle, f(α), α* raw and clipped, bounds and Δ_k."""
    import xarray as xr

    from xmodal_lab.instruments.transport import alpha_star, interpolation_cost

    lengths = np.round(np.linspace(0.2, 2.0, 19), 6)
    alpha = np.round(np.linspace(-0.5, 1.5, 41), 6)
    d_i, d_j, d_ij = np.meshgrid(lengths, lengths, lengths, indexing="ij")
    real = 2 * np.maximum(np.maximum(d_i, d_j), d_ij) <= (d_i + d_j + d_ij) * (1 + 1e-9)
    three = d_i[real], d_j[real], d_ij[real]
    found = alpha_star(*three)
    rows = {
        "α* raw": found.raw,
        "α* clipped": found.clipped,
        "bound, low": found.bounds[0],
        "bound, high": found.bounds[1],
        "Δ_k = √f(α*)": found.delta_k,
        "min(Δ_i, Δ_j)": np.minimum(*three[:2]),
    }

    def whole(values: np.ndarray) -> np.ndarray:
        """The values where the sides are a triangle, NaN elsewhere."""
        full = np.full((*real.shape, *values.shape[1:]), np.nan)
        full[real] = values
        return full

    dots = whole(sides(*three, found.clipped * three[2], (1 - found.clipped) * three[2]))
    curve = whole(interpolation_cost(alpha, *(side[:, None] for side in three)))
    dims = ("delta_i", "delta_j", "delta_ij")
    cube = xr.Dataset(
        {
            "f": ((*dims, "alpha"), curve, {"long_name": "f(α), the bound on Δ_k²"}),
            "said": ((*dims, "what"), whole(np.stack(list(rows.values()), -1)), {"long_name": "value"}),
            "right": ((*dims, "dot"), dots[..., 0], {"long_name": "distance along P_i to P_j"}),
            "up": ((*dims, "dot"), dots[..., 1], {"long_name": "distance away from that line"}),
            "side": _side_classes(),
        },
        {
            **{d: (d, lengths, {"long_name": n}) for d, n in zip(dims, ("Δ_i", "Δ_j", "Δ_ij"), strict=True)},
            "alpha": ("alpha", alpha, {"long_name": "α"}),
            "what": list(rows),
        },
    )
    views = [
        Scatter(
            "right",
            "up",
            color="side",
            points="dot",
            curves=True,
            equal=True,
            corners=dims,
            title="the triangle: drag a corner",
        ),
        Lines("f", x="alpha", fit=True, title="f(α) of Eq 13"),
        Bars("said", x="what", fit=True, title="what Theorem 1 says"),
    ]
    opening: dict[str, Any] = {"title": "Theorem 1: drag the corners", "delta_i": 1.2, "delta_j": 1.0, "delta_ij": 1.0}
    return SweepView(cube, views, list(dims), **(opening | options))


def cigars(**options: Any) -> SweepView:
    """Three Gaussians, turned by θ: Δ_k² by three couplings, against the quadratic f(α)."""
    import torch
    import xarray as xr

    from xmodal_lab.instruments.transport.gaussians import COUPLINGS, example

    theta, alpha = np.arange(0.0, 91.0, 5.0), np.round(np.linspace(0, 1, 21), 6)
    at = torch.from_numpy(alpha)
    names = ["f(α), Eq 13", "true geodesic", "generalised, base P*", "random pairing"]
    triples = [example(float(t)) for t in theta]
    outlines = _outlines(triples)
    curves = [[t.quadratic(at).numpy(), *(t.delta_k(at, c).numpy() for c in COUPLINGS)] for t in triples]
    cube = xr.Dataset(
        {
            "squared": (("theta", "coupling", "alpha"), np.array(curves), {"long_name": "Δ_k²"}),
            "x": (("theta", "point"), outlines[..., 0]),
            "y": (("theta", "point"), outlines[..., 1]),
            "law": ("point", np.repeat(np.arange(3), _OUTLINE), {"long_name": "law", "flag_meanings": LAWS}),
        },
        {"theta": ("theta", theta, {"long_name": "θ", "units": "°"}), "coupling": names,
         "alpha": ("alpha", alpha, {"long_name": "α"})},
    )  # fmt: skip
    views = [
        Scatter(
            "x",
            "y",
            color="law",
            points="point",
            curves=True,
            equal=True,
            title="the three laws (one standard deviation)",
        ),
        Lines("squared", x="alpha", hue="coupling", fit=True, title="Δ_k² by coupling"),
    ]
    opening: dict[str, Any] = {"title": "Which pairing makes z_k?", "theta": 30.0}
    return SweepView(cube, views, ["theta"], **(opening | options))


_OUTLINE = 60  # points of an ellipse


def _outlines(triples: Any) -> np.ndarray:
    """(θ, 3 · points, 2): the ellipse of one standard deviation of each law."""
    import torch

    angle = torch.linspace(0, 2 * torch.pi, _OUTLINE, dtype=torch.float64)
    circle = torch.stack([angle.cos(), angle.sin()])
    found = []
    for triple in triples:
        laws = (triple.star, triple.i, triple.j)
        found.append(np.concatenate([(g.mean[:, None] + torch.linalg.cholesky(g.covariance) @ circle).T for g in laws]))
    return np.stack(found)
