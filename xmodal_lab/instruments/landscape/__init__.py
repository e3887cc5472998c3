"""Loss landscapes: the loss along lines and planes through a point of parameter space.

    value at (a, b) = loss(θ + a·d₁ + b·d₂),   centre = loss(θ)

Random directions are Gaussian and, by default, filter-normalised (Li et al. 2018): each
filter of d has the norm of the same filter of θ. Every result is an ``xarray.DataArray``
whose attributes say how it was made: loss, normalization, seed, span, engine.
"""

from __future__ import annotations

from collections.abc import Callable

from ...models.modules import Params
from .axes import draw as draw
from .planes import ENGINES as ENGINES
from .planes import line as line
from .planes import modality_plane as modality_plane
from .planes import plane as plane
from .planes import trajectory_plane as trajectory_plane

directions = draw
# The Hessian's, from the curvature: the package joins the two, since no instrument knows another.
eigenvectors: Callable[..., list[Params]]
