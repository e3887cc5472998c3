"""One look at a trained net: landscape, spectrum, gap, flatness and robustness of one setting, in one Dataset.

:func:`look` takes them at one net, :func:`along` at every checkpoint of a training, with a dim "epoch".

Every look has the same coordinates for every net, one λ grid above all, so that looks can be laid side by side. What
a net cannot answer (the gap of a lone modality) is NaN, and ``attrs["why"]`` says why.
"""

from __future__ import annotations

from .looking import along as along
from .looking import look as look
from .looking import model_of as model_of
from .settings import LOOKS as LOOKS
from .settings import Look as Look
from .settings import Looks as Looks
from .settings import looks_of as looks_of
from .taking import Neighbour as Neighbour
from .taking import taken as taken
