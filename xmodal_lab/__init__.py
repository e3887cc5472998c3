"""xmodal_lab: a lab bench for cross-modal learning.

    dataset → pairing → model → Loss → { fit, landscape, curvature, flatness, robustness }

A map of the rooms:

- data: ``load``, ``datasets``, ``Samples``, ``Dataset``, ``Pairing``
- models: ``LateFusion``, ``encoders``, ``fusion``, ``one_tower``
- training: ``fit``, ``Run``; a whole grid of runs: ``sweep``, ``sweeps``
- the one thing every instrument looks at: ``Loss``, ``loss_on``
- instruments: ``landscape``, ``curvature``, ``flatness``, ``robustness``, ``transport``,
  ``information``, ``metrics``
- what the papers print: ``tables``, ``published``; what holds here: ``claims``
- pictures: ``plots`` (static), and the package ``xmodal_widgets`` (live)
"""

from __future__ import annotations

from . import claims as claims
from . import curvature as curvature
from . import datasets as datasets
from . import encoders as encoders
from . import flatness as flatness
from . import fusion as fusion
from . import information as information
from . import landscape as landscape
from . import losses as losses
from . import metrics as metrics
from . import one_tower as one_tower
from . import pairing as pairing
from . import plots as plots
from . import published as published
from . import recipes as recipes
from . import robustness as robustness
from . import sweeps as sweeps
from . import terms as terms
from . import transport as transport
from ._version import __version__ as __version__
from .bench import bench as bench
from .datasets import load as load
from .fusion import LateFusion as LateFusion
from .look import Look as Look
from .look import along as along
from .look import look as look
from .losses import Loss as Loss
from .module_loss import loss_on as loss_on
from .pairing import Pairing as Pairing
from .published import tables as tables
from .recipe import Recipe as Recipe
from .samples import Dataset as Dataset
from .samples import Samples as Samples
from .sweeps import sweep as sweep
from .training import Run as Run
from .training import fit as fit
