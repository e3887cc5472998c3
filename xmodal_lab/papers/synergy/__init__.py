"""synergy: Can one modality model synergize training of other modality models? (Lee and Yoon, ICLR 2025).

Training [M_j → M_i] draws the latents of a net for one modality towards those of a frozen net for another, without
pairs: L = (1 - α) L_cls + α L_z. ``EXPERIMENT`` sweeps it; the theory has files of its own:

- ``targets``, ``prompts``, ``teachers``, ``worlds``: the imperfect ẑ_j of every kind, and the controls.
- ``nets``, ``training``, ``watching``, ``members``: one stacked training, and what is asked of it.
- ``gaussians``: z_k by three couplings where all is exact; ``couplings``: the same on clouds of points.
- ``identity``: what a target that does not know the label can do.
- ``claims``: the ledger's rows.
"""

from __future__ import annotations

from .diagram import DIAGRAM as DIAGRAM
from .member import EXPERIMENT as EXPERIMENT
from .member import clouds as clouds
from .member import experiment as experiment
