"""dml: Understanding multimodal learning: a loss landscape smoothness perspective.

One member trains a late-fusion net under one pairing and looks at what it became. ``alpha``
is the share of pairs that are drawn anew each epoch: 0 is standard multimodal learning
(SML, fixed pairs), 1 distributional multimodal learning (DML, Sec 3.3). ``rows="all"`` with
fixed pairs is the control in which SML sees every sample that DML sees; ``xor`` the share of
the label that breaks Assumption 2.

- ``member``: what one member of the sweep does, ``EXPERIMENT``
- ``theory``: Theorems 1 and 2 as experiments, also on a trained net's own loss, Assumption 1 for four fusions
- ``method``: contrastive learning with pseudo-labels (App C.1); when DML gains, as a map
- ``claims``: the ledger's rows, the nets that they compare
"""

from __future__ import annotations

import sys

from ...utils.faces import named_by
from .diagram import DIAGRAM as DIAGRAM
from .member import EXPERIMENT as EXPERIMENT
from .member import DmlWorld as DmlWorld
from .member import experiment as experiment
from .method.coverage import gain_map as gain_map

named_by(sys.modules[__name__])
