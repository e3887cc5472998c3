"""Static pictures: data in, Axes or SVG out. Nothing is trained or measured here.

- ``planes``, ``curves``, ``forest``: landscapes and isolines, spectra and histories, a ledger; as Matplotlib Axes
- ``styles``: size and lettering, ``with style("paper", columns=1): …``; ``xl.save(ax, "figure.pdf")`` writes them
- ``diagrams``: a method as boxes and arrows, described as data, drawn as SVG
"""

from __future__ import annotations

from ..utils.statistics import mean_interval as mean_interval
from .curves import accuracies as accuracies
from .curves import density as density
from .curves import history as history
from .curves import spectra as spectra
from .diagrams import Arrow as Arrow
from .diagrams import Box as Box
from .diagrams import Diagram as Diagram
from .forest import WORDS as WORDS
from .forest import effects as effects
from .planes import KINDS as KINDS
from .planes import isolines as isolines
from .planes import landscape as landscape
from .planes import landscapes as landscapes
from .planes import trajectory as trajectory
from .styles import STYLES as STYLES
from .styles import style as style
