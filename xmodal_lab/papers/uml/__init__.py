"""uml: Better together: leveraging unpaired multi-modal data for stronger unimodal models.

One member of the experiment trains one shared head on k-shot samples of a target and of unpaired others, and asks
how well it classifies the target. ``text_shots=0`` is the unimodal baseline with the same layers.

- ``member``: what one member of the sweep does, ``EXPERIMENT``
- ``worlds``: two with compositional classes, one's own data
- ``method``: supervised UML on any embeddings, search and closed-form baselines, self-supervised UML, language weights
  in a vision transformer, what the classifier learned, whether the modalities' gradients agree
- ``exchange``: from two sets of embeddings to "one image is worth n words"
- ``theory``: Theorems 1-3 and Fig 3 as experiments
- ``claims``: the ledger's rows; ``pictures``: decisions in a plane
"""

from __future__ import annotations

import sys

from ...data.unpaired import SHOT_SEEDS as SHOT_SEEDS
from ...data.unpaired import Unpaired as Unpaired
from ...data.unpaired import draw_shots as draw_shots
from ...data.unpaired import unpaired as unpaired
from ...utils.faces import named_by
from .diagram import DIAGRAM as DIAGRAM
from .exchange import Exchange as Exchange
from .exchange import exchange as exchange
from .member import CLASSIFIERS as CLASSIFIERS
from .member import DEFAULTS as DEFAULTS
from .member import EXPERIMENT as EXPERIMENT
from .member import UmlWorld as UmlWorld
from .member import experiment as experiment
from .method.conflict import gradient_cosines as gradient_cosines
from .method.geometry import Geometry as Geometry
from .method.geometry import boundary_plane as boundary_plane
from .method.geometry import confused as confused
from .method.geometry import decision_plane as decision_plane
from .method.geometry import geometry as geometry
from .method.geometry import nearest_classes as nearest_classes
from .method.geometry import prototypes as prototypes
from .method.grids import Search as Search
from .method.grids import baseline as baseline
from .method.grids import search as search
from .method.heads import Head as Head
from .method.training import Trained as Trained
from .method.training import train_heads as train_heads
from .pictures import draw_decisions as draw_decisions
from .worlds.small import world as world

named_by(sys.modules[__name__])
