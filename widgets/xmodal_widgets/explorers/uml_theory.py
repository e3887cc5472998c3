"""uml's theory, live: what X, Y and both know of θ_c; and the isolines of an exchange rate.

Both cubes are exact and cheap, so they are computed when the view opens; nothing is shipped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..sweep_view import SweepView
from ..view.joining import with_settings
from ..view.kinds import Contour, HeatMap, Lines, Scatter

if TYPE_CHECKING:
    import xarray as xr

    from xmodal_lab.instruments.information import Fisher

MODALITIES = ("X", "Y", "X + Y")
# All sizes are ours.
AXES: dict[str, list[Any]] = {
    "own": ["unknown (Schur)", "known (block)"],
    "attenuation": [0.0, 0.05, 0.2, 0.5, 1.0],
    "n_x": [2, 4, 8, 16, 32],
    "n_y": [0, 2, 4, 8, 16, 32],
    "angle": [15.0 * k for k in range(13)],
}
# The same in the cube as it opens; others are computed when they are chosen.
FIXED: dict[str, Any] = {"sigma_y": 1.0, "size": 3, "own_size": 1}
OFFERS: dict[str, list[Any]] = {"sigma_y": [0.5, 2.0, 4.0], "size": [2, 6], "own_size": [0, 2]}
CONTROLS = {
    "world": ["own", "attenuation", "sigma_y", "size", "own_size"],
    "samples": ["n_x", "n_y"],
    "direction": ["angle"],
}
METHODS = {"unknown (Schur)": "schur", "known (block)": "block"}
BUDGET, SHARES = 40, [round(0.1 * k, 1) for k in range(11)]
EDGE = 1.5  # larger standard deviations are cut there in the picture of the ellipses
AROUND, ALONG = 40, 9  # points of an ellipse, and of the line along v


def world(
    attenuation: float,
    n_x: int = 1,
    n_y: int = 1,
    seed: int = 20,
    sigma_y: float = 1.0,
    size: int = 3,
    own_size: int = 1,
) -> Fisher:
    """Two shared parameters, ``own_size`` of X's and of Y's own; X sees the second one attenuated (as in App E.14).

    A sample of either is ``size`` numbers; the noise of X has the standard deviation 1, that of Y ``sigma_y``.
    """
    import torch

    from xmodal_lab.instruments.information import fisher

    shapes = {"A_c": (size, 2), "A_x": (size, own_size), "B_c": (size, 2), "B_y": (size, own_size)}
    generator = torch.Generator().manual_seed(seed)
    drawn = {n: torch.randn(shape, dtype=torch.float64, generator=generator) for n, shape in shapes.items() if shape[1]}
    return fisher({**drawn, "a": torch.tensor([1.0, attenuation])}, sigma_y=sigma_y, n_x=n_x, n_y=n_y)


def open(views: Any = None, controls: Any = None, compute: Any = None, **options: Any) -> SweepView:
    """The uncertainty of θ_c by X, Y and both, the direction v to turn, and the exchange rate along it.

    Args:
        views, controls: in place of the default ones.
        compute: what "Train here" runs; works out the exact setting by default.
        options: ``title``, and a value for any control.
    """
    shown = views or [
        Scatter(
            "theta_1",
            "theta_2",
            color="seen_by",
            curves=True,
            equal=True,
            title="one standard deviation of θ_c, and v",
        ),
        Lines("deviation", x="angle", hue="modality", log=True, fit=True, title="standard deviation along v"),
        Lines("rate", x="angle", log=True, fit=True, title="one more X is worth so many Y, along v"),
        Lines("budget", x="share", fit=True, title=f"{BUDGET} samples to spend: standard deviation along v"),
    ]
    opening: dict[str, Any] = {
        "attenuation": 0.2,
        "n_x": 16,
        "n_y": 8,
        "angle": 90.0,
        "title": "uml: what unpaired Y says of θ_c",
        "offers": OFFERS,
    }
    return SweepView(theory_cube(), shown, controls or CONTROLS, compute=compute or compute_here, **(opening | options))


def compute_here(
    setting: Mapping[str, Any], progress: Callable[..., None], cancelled: Callable[[], bool]
) -> dict[str, Any]:
    """Work out a setting, for the view's "Train here", with all values that :data:`AXES` has for the other controls."""
    axes = {name: values if setting[name] in values else [setting[name]] for name, values in AXES.items()}
    cube = theory_cube(axes, {name: setting[name] for name in FIXED})
    single = [name for name in axes if len(axes[name]) == 1]
    return {str(n): v.isel(dict.fromkeys([*FIXED, *single], 0), drop=True, missing_dims="ignore")
            for n, v in cube.data_vars.items() if n != "seen_by"}  # fmt: skip


def theory_cube(axes: Mapping[str, Sequence[Any]] = AXES, fixed: Mapping[str, Any] = FIXED) -> xr.Dataset:
    """Ellipses, deviations and exchange rates on ``axes``, by the Fisher information of :func:`world`."""
    import xarray as xr

    turn = np.deg2rad(axes["angle"])
    v = np.stack([np.cos(turn), np.sin(turn)], 1)
    one = np.asarray([
        [[world(a, **fixed).information(m, METHODS[own]).numpy() for m in ("x", "y")] for a in axes["attenuation"]]
        for own in axes["own"]
    ])  # (own, attenuation, modality, 2, 2)  # fmt: skip
    n_x, n_y = (np.asarray(axes[name], dtype=float) for name in ("n_x", "n_y"))
    m_x = (one[:, :, 0, None, None] * n_x[:, None, None, None]) + 0 * n_y[:, None, None]
    m_y = (one[:, :, 1, None, None] * n_y[:, None, None]) + 0 * n_x[:, None, None, None]
    informations = np.stack([m_x, m_y, m_x + m_y], 4)  # (own, attenuation, n_x, n_y, modality, 2, 2)
    points, kinds = _ellipses(informations, v)
    both = _inverse(m_x + m_y) @ v[:, None, None, None, None, :, None]  # w = I⁺ v, (angle, …)
    shares = np.asarray(SHARES)[:, None, None]
    split = BUDGET * ((1 - shares) * one[:, :, 0, None] + shares * one[:, :, 1, None])
    grid = ("own", "attenuation", "n_x", "n_y")
    of_x, of_y = (_worth(both, one[:, :, m, None, None]) for m in (0, 1))
    rate = np.divide(of_x, of_y, out=np.full_like(of_x, np.nan), where=of_y > 0)  # else no number of Y is worth it
    classes = [*MODALITIES, "v"]
    variables = {
        "theta_1": ((*grid, "angle", "point"), points[..., 0], {"long_name": "θ_c, first"}),
        "theta_2": ((*grid, "angle", "point"), points[..., 1], {"long_name": "θ_c, second (attenuated in X)"}),
        "seen_by": (
            ("point",),
            kinds,
            {"flag_meanings": classes, "long_name": "seen by"},
        ),
        "deviation": ((*grid, "modality", "angle"), _deviation(informations, v), {"long_name": "deviation along v"}),
        "rate": ((*grid, "angle"), np.moveaxis(rate, 0, -1), {"long_name": "Y for one X"}),
        "budget": (("own", "attenuation", "share", "angle"), _deviation(split, v), {"long_name": "deviation along v"}),
    }
    found = xr.Dataset(variables, {**axes, "modality": list(MODALITIES), "share": SHARES, "point": range(len(kinds))})
    names = {"own": "θ_x and θ_y are", "attenuation": "attenuation in X", "n_x": "samples of X", "n_y": "samples of Y",
             "angle": "direction v", "share": "share spent on Y", "sigma_y": "noise of Y, σ (of X: 1)",
             "size": "numbers in a sample", "own_size": "θ_x and θ_y have size"}  # fmt: skip
    found = with_settings(found, fixed, [name for name in variables if name != "seen_by"])
    for name, label in names.items():
        found[name].attrs["long_name"] = label
    found["angle"].attrs["units"] = "°"
    return found


def isolines(
    acc: Any, images: Sequence[float], texts: Sequence[float], words_per_text: float, **options: Any
) -> SweepView:
    """Measured accuracy, its fit with isolines, and the exchange rate, over windows of shots to choose (Fig 8, 9).

    Args:
        acc, images, texts, words_per_text: as for ``xl.information.exchange_rate``.
        options: ``title``, and a value for any control: ``surface``, ``most_images``, ``most_texts``.
    """
    views = [
        HeatMap("accuracy", x="texts", y="images", title="measured accuracy"),
        Contour("fitted", x="texts", y="images", title="fitted accuracy and its isolines"),
        HeatMap("local", x="texts", y="images", log=True, title="one more image is worth so many words"),
        Lines("words", x="most_texts", hue="surface", log=True, title="words per image, by the window's end"),
    ]
    cube = isolines_cube(acc, images, texts, words_per_text)
    controls = ["surface", "most_images", "most_texts"]
    opening: dict[str, Any] = {"title": "uml: how many words is an image worth?", "surface": "log fit",
               "most_images": images[-1], "most_texts": texts[-1]}  # fmt: skip
    return SweepView(cube, views, controls, **(opening | options))


def isolines_cube(acc: Any, images: Sequence[float], texts: Sequence[float], words_per_text: float) -> xr.Dataset:
    """Exchange rates of every window from the first shots on; gaps where a fit is refused or a shot is outside."""
    import xarray as xr

    from xmodal_lab.instruments.information import exchange_rate

    ends: dict[str, list[Any]] = {
        "surface": ["log fit", "plane"],
        "most_images": list(images)[1:],
        "most_texts": list(texts)[1:],
    }
    shape = tuple(len(v) for v in ends.values())
    planes = {name: np.full((*shape, len(images), len(texts)), np.nan) for name in ("accuracy", "fitted", "local")}
    numbers = {name: np.full(shape, np.nan) for name in ("words", "r2")}
    for i, most_i in enumerate(ends["most_images"]):
        for t, most_t in enumerate(ends["most_texts"]):
            found = exchange_rate(
                acc, images, texts, words_per_text, images_window=(0, most_i), texts_window=(0, most_t)
            )
            inside = (slice(len(found.images)), slice(len(found.texts)))
            for f, fit in enumerate((found.log, found.plane)):
                here = (f, i, t, *inside)
                planes["accuracy"][here] = found.accuracy
                planes["fitted"][here] = fit.predict(found.images[:, None], found.texts)
                planes["local"][here] = words_per_text * fit.texts_per_image(found.images[:, None], found.texts)
                numbers["words"][f, i, t] = found.log_rate if fit is found.log else found.plane_rate
                numbers["r2"][f, i, t] = fit.r2
    labels = {"accuracy": "accuracy", "fitted": "fitted accuracy", "local": "words", "words": "words per image"}
    labels["r2"] = "R²"
    variables = {n: ((*ends, "images", "texts"), v, {"long_name": labels[n]}) for n, v in planes.items()}
    variables |= {n: (tuple(ends), v, {"long_name": labels[n]}) for n, v in numbers.items()}
    cube = xr.Dataset(variables, {**ends, "images": list(images), "texts": list(texts)})
    names = {"images": "images per class", "texts": "texts per class",
             "most_images": "images, up to", "most_texts": "texts, up to"}  # fmt: skip
    for name, label in names.items():
        cube[name].attrs["long_name"] = label
    return cube.astype("float32")


def _ellipses(informations: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points (own, attenuation, n_x, n_y, angle, point, 2) of the ellipses and of the line along v, and their kinds."""
    import torch

    from xmodal_lab.utils.factors import oriented

    values, vectors = np.linalg.eigh(informations)
    vectors = oriented(torch.from_numpy(vectors)).numpy()  # a ring begins at the same point everywhere
    with np.errstate(divide="ignore", invalid="ignore"):
        axes = np.minimum(1 / np.sqrt(np.where(_seen(values), values, 0.0)), EDGE)
    around = np.linspace(0, 2 * np.pi, AROUND)
    circle = np.stack([np.cos(around), np.sin(around)])
    rings = np.swapaxes(vectors * axes[..., None, :] @ circle, -1, -2)  # (..., modality, around, 2)
    rings = rings.reshape(*rings.shape[:-3], -1, 2)
    line = np.linspace(-EDGE, EDGE, ALONG)[:, None] * v[:, None]  # (angle, along, 2)
    start = rings.shape[:-2]
    rings = np.broadcast_to(rings[..., None, :, :], (*start, len(v), *rings.shape[-2:]))
    line = np.broadcast_to(line, (*start, *line.shape))
    kinds = np.repeat([0, 1, 2, 3], [AROUND, AROUND, AROUND, ALONG])
    return np.concatenate([rings, line], -2), kinds


def _seen(values: np.ndarray) -> np.ndarray:
    return values > 1e-10 * np.maximum(values[..., -1:], 1e-300)


def _inverse(matrices: np.ndarray) -> np.ndarray:
    """Pseudo-inverses of (..., 2, 2)."""
    return np.linalg.pinv(matrices, rcond=1e-10, hermitian=True)


def _deviation(informations: np.ndarray, v: np.ndarray) -> np.ndarray:
    """(..., angle): standard deviation along each v; NaN where it is infinite."""
    values, vectors = np.linalg.eigh(informations)
    parts = np.swapaxes(vectors, -1, -2) @ v.T  # (..., eigenvector, angle)
    blind = (~_seen(values)[..., None] & (np.abs(parts) > 1e-5)).any(-2)
    variance = np.einsum("ai,...ij,aj->...a", v, _inverse(informations), v)
    return np.where(blind, np.nan, np.sqrt(variance))


def _worth(w: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """wᵀMw, (angle, ...); 0 where M says nothing along w but for rounding."""
    found = (np.swapaxes(w, -1, -2) @ matrix @ w)[..., 0, 0]
    largest = np.square(w).sum((-1, -2)) * np.trace(matrix, axis1=-2, axis2=-1)
    return np.where(found > 1e-10 * largest, found, 0.0)
