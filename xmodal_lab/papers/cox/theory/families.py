"""Families of discrete distributions on which Theorem 1 is tried, and the counterexample to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ....utils import checks as check
from .terms import Terms, terms

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

Draw = Callable[[np.random.Generator, int, int], np.ndarray]
# The coordinates of the lesson that one turns (ours). At 0.5 X1 and X2 know nothing, and only ties decide.
FLIPS = tuple(np.round(np.linspace(0.0, 0.48, 25), 2).tolist())
COUPLINGS = tuple(np.round(np.linspace(0.0, 1.0, 21), 2).tolist())


def _dirichlet(weight: float) -> Draw:
    return lambda rng, n, k: rng.dirichlet(np.full(k**4, weight), n).reshape(n, k, k, k, k)


def _channel(rng: np.random.Generator, n: int, k: int, weight: float) -> np.ndarray:
    return rng.dirichlet(np.full(k, weight), (n, k))


def _given_y(rng: np.random.Generator, n: int, k: int) -> np.ndarray:
    label = rng.dirichlet(np.full(k, 5.0), n)
    one, two, out = (_channel(rng, n, k, 0.5) for _ in range(3))
    return np.einsum("ny,nya,nyb,nyc->nabcy", label, one, two, out)


def _useless(rng: np.random.Generator, n: int, k: int) -> np.ndarray:
    inside = rng.dirichlet(np.full(k**3, 0.3), n).reshape(n, k, k, k)
    return np.einsum("naby,nc->nabcy", inside, rng.dirichlet(np.ones(k), n))


def _weak(rng: np.random.Generator, n: int, k: int) -> np.ndarray:
    views = [0.95 / k + 0.05 * _channel(rng, n, k, 1.0) for _ in range(3)]
    return np.einsum("nya,nyb,nyc->nabcy", *views) / k


def _copies(rng: np.random.Generator, n: int, k: int) -> np.ndarray:
    right = rng.uniform(1 / k, 1, (3, n, 1, 1))
    one, two, out = right * np.eye(k) + (1 - right) * (1 - np.eye(k)) / (k - 1)
    return np.einsum("nya,nyb,nyc->nabcy", one, two, out) / k


def _strong_out(rng: np.random.Generator, n: int, k: int) -> np.ndarray:
    one, two = (_channel(rng, n, k, 0.5) for _ in range(2))
    return np.einsum("nya,nyb,yc->nabcy", one, two, np.eye(k)) / k


FAMILIES: dict[str, Draw] = {
    "Dirichlet(1)": _dirichlet(1.0),
    "Dirichlet(0.1)": _dirichlet(0.1),
    "independent given Y": _given_y,
    "noisy copies of Y": _copies,
    "X_O tells Y": _strong_out,
    "all three weak": _weak,
    "X_O useless": _useless,
}


def draw(family: str, cases: int, size: int = 2, seed: int = 0) -> Tensor:
    """Random distributions of a family: (cases, size, size, size, size), float64, by ``seed``.

    Raises:
        ValueError: an unknown family, fewer than 2 values, no case.
    """
    check.one_of("family", family, FAMILIES)
    cases, size = check.integer("cases", cases, at_least=1), check.integer("size", size, at_least=2)
    rng = np.random.default_rng([check.integer("seed", seed, at_least=0), size])
    p = torch.from_numpy(FAMILIES[family](rng, cases, size))
    return p / p.sum((-4, -3, -2, -1), keepdim=True)


def rates(
    families: Sequence[str] | None = None, sizes: Sequence[int] = (2, 4), cases: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """How often Theorem 1 holds, by family and size; one row each, shares in [0, 1].

    ``families`` (all by default) and ``sizes`` as of :func:`draw`, which draws ``cases`` of each with ``seed``.

    Columns: ``eq12`` (as printed), ``eq12 in bits``, ``eq11, joint`` (the proof's reading), ``repaired`` (with the
    constants of Assumptions 1-3), ``finite`` (where such constants exist), ``assumption 2`` (as printed) and
    ``assumption 2, squared`` (as Eq 35 uses it), mean ``disagreement``, mean ``bound`` (Eq 12, nats).
    """
    import pandas as pd

    rows, cases = [], check.integer("cases", cases, at_least=1)
    sizes = check.listed("sizes", sizes)
    for family in FAMILIES if families is None else check.listed("families", families):
        for size in sizes:
            p = draw(family, cases, size, seed)
            t, bits = terms(p), terms(p, "bits")
            shares = {
                "eq12": t.holds("eq12"), "eq12 in bits": bits.holds("eq12"), "eq11, joint": t.holds("eq11_joint"),
                "repaired": t.holds("repaired"), "finite": ~t.constant.isinf(),
                "assumption 2": t.lipschitz <= 1 + 1e-9, "assumption 2, squared": t.constant <= 1 + 1e-9,
                "disagreement": t.disagreement, "bound": t.eq12,
            }  # fmt: skip
            means = {name: float(v.double().mean()) for name, v in shares.items()}
            rows.append({"family": family, "values": size, "cases": cases, **means})
    return pd.DataFrame(rows)


def counterexample(flip: float = 0.3, coupling: float = 0.0) -> Tensor:
    """Y a fair bit, X1 and X2 are Y flipped with chance ``flip``; X_O is Y with chance ``coupling``, else a coin.

    At (0.3, 0) the in-modal classifiers disagree in 2 · 0.3 · 0.7 = 0.42 of the cases and Eq 12 bounds that by 0.

    Returns:
        (2, 2, 2, 2), float64.
    """
    flip, coupling = check.share("flip", flip), check.share("coupling", coupling)
    eye = torch.eye(2, dtype=torch.float64)
    view = (1 - flip) * eye + flip * (1 - eye)
    out = coupling * eye + (1 - coupling) / 2
    return torch.einsum("ya,yb,yc->abcy", view, view, out) / 2


def counterexample_cube(flips: Sequence[float] = FLIPS, couplings: Sequence[float] = COUPLINGS) -> xr.Dataset:
    """Every term of Theorem 1 over ``flips`` and ``couplings``, in nats, for a live view.

    Raises:
        ValueError: no flip, no coupling, or what :func:`counterexample` refuses.
    """
    import xarray as xr

    flips, couplings = check.listed("flips", flips), check.listed("couplings", couplings)
    if not flips or not couplings:
        raise ValueError("flips and couplings need at least one number each.")
    p = torch.stack([torch.stack([counterexample(f, c) for c in couplings]) for f in flips])
    t: Terms = terms(p)
    names = {
        "disagreement": "P(h1* ≠ h2*)", "eq12": "bound of Eq 12", "eq11_joint": "Eq 11, the proof's reading",
        "overall": "I(X_O; Y)", "unique": "I(X_O; Y | X1, X2)", "common": "I(X_O; X1; X2; Y)",
        "shared_1": "I(X_O; X1; Y | X2)", "shared_2": "I(X_O; X2; Y | X1)",
    }  # fmt: skip
    data = {
        key: (
            ("flip", "coupling"),
            getattr(t, key).numpy(),
            {"long_name": text, "units": "" if "P(" in text else "nats"},
        )
        for key, text in names.items()
    }
    coords = {
        "flip": ("flip", list(flips), {"long_name": "chance that X1, X2 flip Y"}),
        "coupling": ("coupling", list(couplings), {"long_name": "chance that X_O is Y"}),
    }
    return xr.Dataset(data, coords)
