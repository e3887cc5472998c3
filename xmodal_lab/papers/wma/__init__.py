"""wma: Wasserstein modality alignment makes your multimodal transformer more robust (Zhi et al.).

A one-tower transformer over all tokens, fine-tuned with task + α (D - β D̄)² (Eq 9, 10), where D is what it costs to
transport one modality's output tokens to the other's.

- ``EXPERIMENT``, ``experiment``: sweep α, β, tasks, transport, reference, noise and gaps
- ``Alignment``, ``Transport``, ``distances``, ``penalty``, ``plan_of``: the regulariser, for a tower of one's own
- ``world``, ``TASKS``, ``HEADS``: three tasks on ``shapes``
- ``choices``, ``rerun_band``: α and β chosen on validation, beside what choosing on test would have said
- ``relative_gains``, ``falling_cells``, ``cells_beating_baseline``, ``selected_cells``, ``best_betas``,
  ``missing_cells``: what follows from the published tables alone
- ``draw_plan``, ``draw_gains``, ``draw_distance``: static pictures
"""

from __future__ import annotations

from .choosing import choices as choices
from .choosing import rerun_band as rerun_band
from .loss import REFERENCES as REFERENCES
from .loss import Alignment as Alignment
from .loss import Transport as Transport
from .loss import distances as distances
from .loss import pairs_of as pairs_of
from .loss import penalty as penalty
from .loss import plan_of as plan_of
from .pictures import draw_distance as draw_distance
from .pictures import draw_gains as draw_gains
from .pictures import draw_plan as draw_plan
from .printed import best_betas as best_betas
from .printed import cells_beating_baseline as cells_beating_baseline
from .printed import falling_cells as falling_cells
from .printed import missing_cells as missing_cells
from .printed import relative_gains as relative_gains
from .printed import selected_cells as selected_cells
from .runs import EXPERIMENT as EXPERIMENT
from .runs import experiment as experiment
from .tasks import HEADS as HEADS
from .tasks import TASKS as TASKS
from .tasks import world as world
from .towers import Towers as Towers
from .towers import cases_of as cases_of
