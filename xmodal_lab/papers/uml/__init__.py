"""uml: Better together: leveraging unpaired multi-modal data for stronger unimodal models.

One member of the experiment trains one shared head on k-shot samples of a target and of unpaired others, and asks
how well it classifies the target. ``text_shots=0`` is the unimodal baseline with the same layers.

- ``theory``, ``autoencoder``: Theorems 1-3 and Fig 3 as experiments
- ``unpaired``, ``heads``, ``training``: supervised UML on any embeddings; ``grids``: search and closed-form baselines
- ``exchange``: from two sets of embeddings to "one image is worth n words"; ``two_sets``: what it asks of them
- ``worlds``, ``texts``, ``language``: two worlds with compositional classes, their sentences, a small language model
- ``sequence``: self-supervised UML; ``transfer``: language weights in a vision transformer
- ``geometry``, ``pictures``: what the classifier learned; ``claims``: the ledger's rows
"""

from __future__ import annotations

from .exchange import Exchange as Exchange
from .exchange import exchange as exchange
from .fewshot import CLASSIFIERS as CLASSIFIERS
from .fewshot import DEFAULTS as DEFAULTS
from .fewshot import EXPERIMENT as EXPERIMENT
from .fewshot import experiment as experiment
from .geometry import Geometry as Geometry
from .geometry import confused as confused
from .geometry import decision_plane as decision_plane
from .geometry import geometry as geometry
from .geometry import prototypes as prototypes
from .grids import Search as Search
from .grids import baseline as baseline
from .grids import search as search
from .heads import Head as Head
from .pictures import draw_decisions as draw_decisions
from .training import Trained as Trained
from .training import train_heads as train_heads
from .unpaired import SHOT_SEEDS as SHOT_SEEDS
from .unpaired import Unpaired as Unpaired
from .unpaired import draw_shots as draw_shots
from .unpaired import unpaired as unpaired
from .worlds import world as world
