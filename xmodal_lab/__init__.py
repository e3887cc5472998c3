"""xmodal_lab: a lab bench for cross-modal learning."""

from __future__ import annotations

from . import losses as losses
from ._version import __version__ as __version__
from .losses import Loss as Loss
from .samples import Dataset as Dataset
from .samples import Samples as Samples
