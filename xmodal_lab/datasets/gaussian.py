"""The linear-Gaussian world of uml, App E.14: two modalities that share some of their causes.

    x = A_c (a ⊙ θ_c) + A_x θ_x + ε,   y = B_c θ_c + B_y θ_y + ε

All θ are standard normal, all entries of A and B are N(0, 1), ε ~ N(0, σ²). In the training
data x sees only the first tenth of θ_c at full strength and the rest attenuated; y sees all
of it. Validation and test show both modalities all of θ_c.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .. import _checks as check
from ..samples import Dataset, Samples


def load_gaussian(
    n_x: int = 5000,
    n_y: int = 5000,
    *,
    paired: bool = False,
    shared: int = 10,
    x_only: int = 5,
    y_only: int = 5,
    observed: int = 50,
    kept: float = 0.1,
    attenuation: float = 0.05,
    noise: float = 0.3,
    n_val: int = 500,
    n_test: int = 2000,
    attenuate_test: bool = False,
    seed: int = 0,
) -> Dataset:
    """Draw the world (uml, App E.14; every default but ``n_val`` and ``n_test``, which are ours).

    Args:
        n_x, n_y: training samples of each modality; 5000 and 5000 for UML, 10000 and 0 for x alone.
        paired: whether row i's x and y have the same θ_c (needs n_x = n_y). Unpaired rows have one modality.
        shared, x_only, y_only: dimensions of θ_c, θ_x, θ_y (10, 5, 5).
        observed: dimension of x and of y (50).
        kept: share of θ_c's components that x sees at full strength (0.1).
        attenuation: factor on the other components in x (0.05).
        noise: σ (0.3, so that the variance is 0.09).
        n_val, n_test: samples of those splits, with both modalities.
        attenuate_test: whether x is attenuated in them too; the paper's are not.
        seed: of everything.

    Returns:
        A Dataset without classes (labels are -1), modalities "x" and "y", latents "shared",
        "x_only", "y_only"; ``provenance["design"]`` holds A_c, A_x, B_c, B_y and a.

    Raises:
        ValueError: a size below its least, a share outside [0, 1], negative noise, unequal paired sizes.
    """
    for name, value in {"shared": shared, "observed": observed, "n_val": n_val, "n_test": n_test}.items():
        check.integer(name, value, at_least=1)
    for name, value in {"n_x": n_x, "n_y": n_y, "x_only": x_only, "y_only": y_only, "seed": seed}.items():
        check.integer(name, value, at_least=0)
    check.share("kept", kept)
    check.share("attenuation", attenuation)
    check.non_negative("noise", noise)
    if n_x + n_y == 0:
        raise ValueError("n_x and n_y are both 0; a training split needs samples.")
    if paired and n_x != n_y:
        raise ValueError(f"paired samples need n_x = n_y, got {n_x} and {n_y}.")
    options = {key: value for key, value in locals().items() if key not in ("name", "value")}

    g = torch.Generator().manual_seed(seed)
    design = {
        "A_c": torch.randn(observed, shared, generator=g),
        "A_x": torch.randn(observed, x_only, generator=g),
        "B_c": torch.randn(observed, shared, generator=g),
        "B_y": torch.randn(observed, y_only, generator=g),
        "a": torch.where(torch.arange(shared) < max(1, round(kept * shared)), 1.0, attenuation),
    }
    if kept == 0:
        design["a"] = torch.full((shared,), attenuation)

    def split(n: int, attenuated: bool, has: dict[str, Tensor]) -> Samples:
        latents = {
            "shared": torch.randn(n, shared, generator=g),
            "x_only": torch.randn(n, x_only, generator=g),
            "y_only": torch.randn(n, y_only, generator=g),
        }
        seen = latents["shared"] * design["a"] if attenuated else latents["shared"]
        x = seen @ design["A_c"].T + latents["x_only"] @ design["A_x"].T
        y = latents["shared"] @ design["B_c"].T + latents["y_only"] @ design["B_y"].T
        x, y = (view + noise * torch.randn(n, observed, generator=g) for view in (x, y))
        return Samples({"x": x, "y": y}, torch.full((n,), -1), has, latents)

    n = n_x if paired else n_x + n_y
    rows = torch.arange(n)
    has = {} if paired else {"x": rows < n_x, "y": rows >= n_x}
    return Dataset(
        "gaussian",
        split(n, True, has),
        split(n_test, attenuate_test, {}),
        val=split(n_val, attenuate_test, {}),
        kinds={"x": "vector", "y": "vector"},
        provenance={"source": "drawn; uml, App E.14", "options": options, "design": design},
    )
