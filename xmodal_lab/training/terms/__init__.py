"""The terms of a recipe: what is added up to a training loss, each weighed by a setting of its own.

    Task        cross-entropy (classes, or several at once) or squared error, by the labels
    Latent      a frozen teacher's latents as targets                         a_latent            synergy, Sec 3.3
    Alignment   transport between a sample's modalities, drawn to a target    a_align, b_align    wma, Eq 9, 10
    Shared      unpaired rows of a modality through the shared part           lam, ratio          uml, Alg 2
    Connection  one modality's latents predicted from the others'             a_connect           cox, Eq 9

A term is data and a function of one batch as K members see it (:class:`View`): everything has the members as its
first size, also where one net trains alone, so that a term is written once. One's own is a function with a name:

    >>> from xmodal_lab import terms
    >>> @terms.term("confidence", weight=0.1)
    ... def confidence(view):
    ...     p = view.outputs.softmax(-1)                      # (K, B, C)
    ...     return -(p * p.clamp_min(1e-9).log()).sum(-1).mean(-1)   # (K,): the mean entropy of each member
    >>> confidence.settings
    {'confidence': 0.1}
"""

from __future__ import annotations

from ...utils.registry import Registry
from .alignment import Alignment as Alignment
from .base import Context as Context
from .base import Function as Function
from .base import Term as Term
from .base import View as View
from .base import term as term
from .connection import BOTTLENECK as BOTTLENECK
from .connection import Connection as Connection
from .latent import TARGETS as TARGETS
from .latent import Latent as Latent
from .shared import Shared as Shared
from .task import Task as Task

# Terms by name: those with all arguments at their defaults, and what installed packages announce.
TERMS = Registry("term", {t.name: t() for t in (Task, Latent, Alignment, Shared, Connection)})
