"""Robustness: noise, missing modalities, corruptions, attacks, and one table of them all.

What spoils data takes :class:`~xmodal_lab.Samples`, or any dict of tensors such as the features of
``model.encode`` or the tokens of a transformer, and returns the same kind of thing:
:func:`add_noise`, :func:`drop_modality`, :func:`corrupt`. :func:`evaluate_under` says how a model does on
the result, :func:`pgd` attacks it, :func:`report` tries everything. Nothing trains, and no model is changed.
"""

from __future__ import annotations

from ...data.corruptions import CORRUPTIONS as CORRUPTIONS
from ...data.corruptions import Corruption as Corruption
from ...models.evaluation import Evaluation as Evaluation
from .attacks import PGD_IMAGE as PGD_IMAGE
from .attacks import PGD_SPECTROGRAM as PGD_SPECTROGRAM
from .attacks import Attack as Attack
from .attacks import pgd as pgd
from .report import NOISES as NOISES
from .report import PLACES as PLACES
from .report import Views as Views
from .report import add_noise as add_noise
from .report import corrupt as corrupt
from .report import drop_modality as drop_modality
from .report import evaluate_under as evaluate_under
from .report import report as report
