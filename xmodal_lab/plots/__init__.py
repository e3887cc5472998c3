"""Static pictures: data in, Axes or SVG out. Nothing is trained or measured here.

- ``charts``: landscapes, spectra, histories, effects, isolines, as Matplotlib Axes
- ``styles``: size and lettering, ``with style("paper", columns=1): …``; ``xl.save(ax, "figure.pdf")`` writes them
- ``diagrams``: a method as boxes and arrows, described as data, drawn as SVG
"""

from __future__ import annotations

from .charts import KINDS as KINDS
from .charts import WORDS as WORDS
from .charts import accuracies as accuracies
from .charts import density as density
from .charts import effects as effects
from .charts import history as history
from .charts import isolines as isolines
from .charts import landscape as landscape
from .charts import landscapes as landscapes
from .charts import mean_interval as mean_interval
from .charts import spectra as spectra
from .charts import trajectory as trajectory
from .diagrams import Arrow as Arrow
from .diagrams import Box as Box
from .diagrams import Diagram as Diagram
from .styles import STYLES as STYLES
from .styles import style as style
