"""synergy: Can one modality model synergize training of other modality models? (Lee and Yoon, ICLR 2025).

Training [M_j → M_i] draws the latents of a net for one modality towards those of a frozen net for another, without
pairs: L = (1 - α) L_cls + α L_z. ``EXPERIMENT`` sweeps it; the theory has files of its own:

- ``member``: what one member of the sweep does, ``EXPERIMENT``; ``worlds``: what the members of one direction share
- ``method``: the imperfect ẑ_j of every kind and the controls, the stacked training, what is watched on the way
- ``theory``: what a target that does not know the label can do; z_k by three couplings is in ``transport.gaussians``
- ``claims``: the ledger's rows, the arms that they compare
"""

from __future__ import annotations

import sys

from ...utils.faces import named_by
from .diagram import DIAGRAM as DIAGRAM
from .member import EXPERIMENT as EXPERIMENT
from .member import SynergyWorld as SynergyWorld
from .member import clouds as clouds
from .member import experiment as experiment

named_by(sys.modules[__name__])
