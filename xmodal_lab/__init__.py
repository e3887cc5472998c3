"""xmodal_lab: a lab bench for cross-modal learning.

    dataset → pairing → model → Loss → { fit, landscape, curvature, flatness, robustness }

A map of the rooms:

- data: ``load``, ``datasets``, ``Samples``, ``Dataset``, ``Pairing``
- models: ``LateFusion``, ``encoders``, ``fusion``, ``one_tower``
- training: ``fit``, ``Run``; a whole grid of runs: ``sweep``, ``sweeps``
- the one thing every instrument looks at: ``Loss``, ``loss_on``
- instruments: ``landscape``, ``curvature``, ``flatness``, ``robustness``, ``transport``,
  ``information``, ``metrics``
- what the papers print: ``tables``, ``published``; what holds here: ``claims``; what to cite: ``cite``
- files: ``save``, ``read``
- pictures: ``plots`` (static), and the package ``xmodal_widgets`` (live)
"""

from __future__ import annotations

from . import claims as claims
from . import losses as losses
from . import plots as plots
from . import sweeps as sweeps
from . import training as training
from .citations import cite as cite
from .claims import published as published
from .claims.published import tables as tables
from .data import datasets as datasets
from .data import pairing as pairing
from .data.datasets import load as load
from .data.pairing import Pairing as Pairing
from .data.samples import Dataset as Dataset
from .data.samples import Samples as Samples
from .experiments.bench import bench as bench
from .instruments import curvature as curvature
from .instruments import flatness as flatness
from .instruments import information as information
from .instruments import landscape as landscape
from .instruments import metrics as metrics
from .instruments import robustness as robustness
from .instruments import transport as transport
from .instruments.look import Look as Look
from .instruments.look import along as along
from .instruments.look import look as look
from .losses import Loss as Loss
from .losses.module_loss import loss_on as loss_on
from .models import encoders as encoders
from .models import fusion as fusion
from .models import one_tower as one_tower
from .models.fusion import LateFusion as LateFusion
from .results import read as read
from .results import save as save
from .sweeps import sweep as sweep
from .training import Run as Run
from .training import fit as fit
from .training import recipes as recipes
from .training import terms as terms
from .training.recipe import Recipe as Recipe
from .utils.faces import named_by
from .utils.version import __version__ as __version__

# The sharpest directions are drawn as any others are, but it is the curvature that finds them.
landscape.eigenvectors = curvature.eigenvectors
named_by(claims, curvature, information, landscape, losses, metrics, robustness, sweeps, terms, training, transport)
