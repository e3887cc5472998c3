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
``cox.terms(p)``, ``cox.rates()`` and ``cox.counterexample(flip=0.3)`` enumerate Theorem 1.

The parts: :mod:`problem`, :mod:`perceptors`, :mod:`anchors` (Eq 14, 15), :mod:`matching` (Eq 10, 13),
:mod:`semi` and :mod:`unsupervised` training, :mod:`information` and :mod:`families` (Theorem 1).
"""

from __future__ import annotations

from .anchors import Anchors as Anchors
from .anchors import emergent as emergent
from .anchors import labelled_rows as labelled_rows
from .anchors import top_agreed as top_agreed
from .bench import EXPERIMENT as EXPERIMENT
from .bench import Bench as Bench
from .diagram import information_diagram as information_diagram
from .families import FAMILIES as FAMILIES
from .families import counterexample as counterexample
from .families import counterexample_cube as counterexample_cube
from .families import draw as draw
from .families import rates as rates
from .information import Terms as Terms
from .information import terms as terms
from .matching import RULES as RULES
from .matching import Match as Match
from .matching import exploration as exploration
from .matching import match_weights as match_weights
from .options import ALGORITHMS as ALGORITHMS
from .options import Options as Options
from .perceptors import PERCEPTORS as PERCEPTORS
from .perceptors import perceive as perceive
from .problem import Problem as Problem
from .problem import Split as Split
from .problem import of_dataset as of_dataset
from .problem import of_views as of_views
from .runs import Outcome as Outcome
from .runs import run as run
from .runs import run_stack as run_stack
from .scoring import best_relabelling as best_relabelling
