"""wma: Wasserstein modality alignment makes your multimodal transformer more robust (Zhi et al.).

A one-tower transformer over all tokens, fine-tuned with task + α (D - β D̄)² (Eq 9, 10), where D is what it costs to
transport one modality's output tokens to the other's.

- ``member``: what one member of the sweep does; ``EXPERIMENT``, ``experiment``: sweep α, β, tasks, transport,
  reference, noise and gaps
- ``Alignment``, ``Transport``, ``distances``, ``penalty``, ``plan_of``: the regulariser, for a tower of one's own
- ``world``, ``TASKS``, ``HEADS``: three tasks on ``shapes``
- ``choices``, ``rerun_band``: α and β chosen on validation, beside what choosing on test would have said
- ``relative_gains``, ``falling_cells``, ``cells_beating_baseline``, ``selected_cells``, ``best_betas``,
  ``missing_cells``: what follows from the published tables alone
- ``draw_plan``, ``draw_gains``, ``draw_distance``: static pictures
"""

from __future__ import annotations

import sys

from ...training.alignment import REFERENCES as REFERENCES
from ...training.alignment import Transport as Transport
from ...training.alignment import penalty as penalty
from ...utils.faces import named_by
from .claims.choosing import choices as choices
from .claims.choosing import rerun_band as rerun_band
from .claims.printed import best_betas as best_betas
from .claims.printed import cells_beating_baseline as cells_beating_baseline
from .claims.printed import falling_cells as falling_cells
from .claims.printed import missing_cells as missing_cells
from .claims.printed import relative_gains as relative_gains
from .claims.printed import selected_cells as selected_cells
from .claims.printed import two_way_anova as two_way_anova
from .diagram import DIAGRAM as DIAGRAM
from .member import EXPERIMENT as EXPERIMENT
from .member import WmaWorld as WmaWorld
from .member import experiment as experiment
from .method.loss import Alignment as Alignment
from .method.loss import distances as distances
from .method.loss import pairs_of as pairs_of
from .method.loss import plan_of as plan_of
from .method.towers import cases_of as cases_of
from .pictures import draw_distance as draw_distance
from .pictures import draw_gains as draw_gains
from .pictures import draw_plan as draw_plan
from .worlds import HEADS as HEADS
from .worlds import TASKS as TASKS
from .worlds import world as world

named_by(sys.modules[__name__])
