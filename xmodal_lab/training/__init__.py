"""Training: one net, one dataset, one pairing; the same seed gives the same run."""

from __future__ import annotations

from ..utils.torch_state import pick_device as pick_device
from .checkpoints import load_checkpoint as load_checkpoint
from .checkpoints import save_checkpoint as save_checkpoint
from .fitting import TEACHER_EPOCHS as TEACHER_EPOCHS
from .fitting import Run as Run
from .fitting import as_history as as_history
from .fitting import cut_rows as cut_rows
from .fitting import fit as fit
from .options import CHOICES as CHOICES
from .options import OPTIMIZERS as OPTIMIZERS
from .options import DivergedError as DivergedError
from .options import Options as Options
from .options import settings_of as settings_of
from .scoring import criterion as criterion
from .scoring import evaluate as evaluate
from .scoring import held_out_splits as held_out_splits
from .trainable import check_trainable as check_trainable
from .trainable import modalities_of as modalities_of
