"""The linear-Gaussian world of uml, App E.14: two modalities that share some of their causes.

    x = A_c (a ⊙ θ_c) + A_x θ_x + ε,   y = B_c θ_c + B_y θ_y + ε

All θ are standard normal, all entries of A and B are N(0, 1), ε ~ N(0, σ² I). In the training
data x sees only the first tenth of θ_c at full strength and the rest attenuated; y sees all
of it. Validation and test show both modalities all of θ_c.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ....utils import checks as check
from ...samples import Dataset, Samples


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
    unrelated_y: bool = False,
    n_val: int = 500,
    n_test: int = 2000,
    attenuate_test: bool = False,
    seed: int = 0,
) -> Dataset:
    """Draw the world (uml, App E.14; every default but ``n_val`` and ``n_test``, which are ours).

    The first rows of the training split have only x, the others only y. The rows of x are the
    same for every ``n_y``, and a smaller ``n_x`` gives the first rows of a larger one, so N/2
    of x with N/2 of y meets N of x on common ground.

    Args:
        n_x, n_y: training samples of each modality; 5000 and 5000 for UML, 10000 and 0 for x alone.
        paired: whether row i's x and y have the same θ_c (needs n_x = n_y). Unpaired rows have one modality.
        shared, x_only, y_only: dimensions of θ_c, θ_x, θ_y (10, 5, 5).
        observed: dimension of x and of y (50).
        kept: share of θ_c's components that x sees at full strength (0.1).
        attenuation: factor on the other components in x (0.05).
        noise: σ (0.3, so that the variance is 0.09).
        unrelated_y: control: y of the training split is white noise of the same scale (WORLDS, uml).
        n_val, n_test: samples of those splits, with both modalities; n_val = 0 for no such split.
        attenuate_test: whether x is attenuated in them too; the paper's are not.
        seed: of everything; the design, each split and each cause have their own stream.

    Returns:
        A Dataset without classes (labels are -1), modalities "x" and "y" (N, observed), latents
        "theta_c", "theta_x", "theta_y"; ``provenance["design"]`` holds A_c, A_x, B_c, B_y and a.

    Raises:
        ValueError: a size below its least, a share outside [0, 1], negative noise, unequal paired sizes.
    """
    sizes = {"shared": shared, "observed": observed, "n_test": n_test}
    may_be_zero = {"n_x": n_x, "n_y": n_y, "x_only": x_only, "y_only": y_only, "n_val": n_val, "seed": seed}
    sizes = {name: check.integer(name, value, at_least=1) for name, value in sizes.items()}
    sizes |= {name: check.integer(name, value, at_least=0) for name, value in may_be_zero.items()}
    amounts = {"kept": check.share("kept", kept), "attenuation": check.share("attenuation", attenuation)}
    amounts["noise"] = check.non_negative("noise", noise)
    if n_x + n_y == 0:
        raise ValueError("n_x and n_y are both 0; a training split needs samples.")
    if paired and n_x != n_y:
        raise ValueError(f"paired samples need n_x = n_y, got {n_x} and {n_y}.")

    def normal(split: int, what: int, *shape: int) -> Tensor:
        drawn = np.random.default_rng([seed, split, what]).standard_normal(shape, dtype=np.float32)
        return torch.from_numpy(drawn)

    dims = {"A_c": shared, "A_x": x_only, "B_c": shared, "B_y": y_only}
    design = {name: normal(0, i, observed, dim) for i, (name, dim) in enumerate(dims.items())}
    design["a"] = torch.where(torch.arange(shared) < round(kept * shared), 1.0, attenuation)

    def draw(split: int, n: int, attenuated: bool, present: dict[str, Tensor]) -> Samples:
        dims = {"theta_c": shared, "theta_x": x_only, "theta_y": y_only}
        theta = {name: normal(split, i, n, dim) for i, (name, dim) in enumerate(dims.items())}
        seen = theta["theta_c"] * design["a"] if attenuated else theta["theta_c"]
        x = seen @ design["A_c"].T + theta["theta_x"] @ design["A_x"].T + noise * normal(split, 3, n, observed)
        y = theta["theta_c"] @ design["B_c"].T + theta["theta_y"] @ design["B_y"].T
        y = y + noise * normal(split, 4, n, observed)
        if unrelated_y and split == 1:
            y = normal(split, 5, n, observed) * y.std(0, correction=0)
        return Samples({"x": x, "y": y}, torch.full((n,), -1), present=present, latents=theta)

    rows = torch.arange(n_x if paired else n_x + n_y)
    present = {} if paired else {"x": rows < n_x, "y": rows >= n_x}
    switches = {"paired": paired, "unrelated_y": unrelated_y, "attenuate_test": attenuate_test}
    return Dataset(
        name="gaussian",
        train=draw(1, len(rows), True, present),
        val=draw(2, n_val, attenuate_test, {}) if n_val else None,
        test=draw(3, n_test, attenuate_test, {}),
        kinds={"x": "vector", "y": "vector"},
        provenance={
            "source": "drawn by this project after uml, App E.14",
            "licence": "BSD-3-Clause",
            "seed": seed,
            "options": {**sizes, **amounts, **switches},
            "design": design,
        },
    )
