"""cox: out-of-modal generalization without instance-level modal correspondence (connect and explore).

    >>> import torch
    >>> from xmodal_lab.papers import cox
    >>> labels = torch.arange(60) % 3
    >>> views = {m: torch.eye(3)[labels] + 0.1 * torch.randn(60, 3) for m in ("touch", "sight", "smell")}
    >>> problem = cox.of_views(views, labels, out="touch")  # or cox.of_dataset(xl.load("shapes"), out="audio")
    >>> found = cox.run(problem, label_share=0.2, steps=20)
    >>> 0 <= found.accuracy <= 1  # and found.recall, .curves, .disagree
    True

``xl.sweep("cox", algorithm=["erm", "entmin", "cox"], out=["image", "audio", "text"], seed=range(5))`` compares methods;
``xl.sweep("cox", dataset="halves", shared=[0.0, 0.5, 1.0], …)`` turns a dial that the idea needs;
``cox.terms(p)``, ``cox.rates()`` and ``cox.counterexample(flip=0.3)`` enumerate Theorem 1.

- ``member``: what one member of the sweep does, ``EXPERIMENT``; ``worlds``: problems, perceptors, data with dials
- ``method``: anchors (Eq 14, 15), matching (Eq 10, 13), training with labels (staged, joint) and without, baselines
- ``theory``: every term of Theorem 1, families of distributions, a diagram
- ``claims``: the ledger's rows, the arms that they compare, what the printed tables get wrong
"""

from __future__ import annotations

import sys

from ...utils.faces import named_by
from .diagram import DIAGRAM as DIAGRAM
from .member import EXPERIMENT as EXPERIMENT
from .member import CoxWorld as CoxWorld
from .method.anchors import Anchors as Anchors
from .method.anchors import emergent as emergent
from .method.anchors import labelled_rows as labelled_rows
from .method.anchors import top_agreed as top_agreed
from .method.matching import RULES as RULES
from .method.matching import Match as Match
from .method.matching import exploration as exploration
from .method.matching import match_weights as match_weights
from .method.options import ALGORITHMS as ALGORITHMS
from .method.options import Options as Options
from .method.runs import Outcome as Outcome
from .method.runs import run as run
from .method.runs import run_stack as run_stack
from .method.scoring import best_relabelling as best_relabelling
from .theory.diagram import information_diagram as information_diagram
from .theory.families import FAMILIES as FAMILIES
from .theory.families import counterexample as counterexample
from .theory.families import counterexample_cube as counterexample_cube
from .theory.families import draw as draw
from .theory.families import rates as rates
from .theory.terms import Terms as Terms
from .theory.terms import terms as terms
from .worlds.perceptors import PERCEPTORS as PERCEPTORS
from .worlds.perceptors import perceive as perceive
from .worlds.problem import Problem as Problem
from .worlds.problem import Split as Split
from .worlds.problem import of_dataset as of_dataset
from .worlds.problem import of_views as of_views

named_by(sys.modules[__name__])
