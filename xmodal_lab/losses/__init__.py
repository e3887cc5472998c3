"""A loss as a function of parameters: the one thing every instrument looks at.

``loss(params)`` is a scalar, ``loss.many(stacked)`` one scalar per member of a stack,
``loss.along(directions, coefficients)`` the loss at θ + Σ cᵢ dᵢ without touching θ, and
``loss.at(params)`` the same loss with another θ.
``Loss(fn, params)`` wraps anyone's function, :meth:`Loss.from_module` any ``nn.Module``.

A loss over data is a weighted sum of terms, one per chunk of rows, so that the
instruments can keep memory small and stay inside the processor's cache.
"""

from __future__ import annotations

from ..models.modules import Direction as Direction
from ..models.modules import Params as Params
from .loss import TOGETHER as TOGETHER
from .loss import Halves as Halves
from .loss import Loss as Loss
from .loss import ModuleLoss as ModuleLoss
from .loss import as_loss as as_loss
from .parameters import Term as Term
