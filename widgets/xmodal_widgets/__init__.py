"""The live layer of xmodal_lab: a whole sweep behind every slider.

- ``explore(cube)``: views and controls from the cube's dimensions
- ``SweepView(cube, [Surface("loss", col="modalities")], share=0.25)``: chosen ones, with the slider ``share`` at 0.25

The cube goes to the browser once; moving a control never asks the kernel.
"""

from __future__ import annotations

from .explore import explore as explore
from .sweep_view import SweepView as SweepView
from .view.kinds import Bars as Bars
from .view.kinds import Contour as Contour
from .view.kinds import Density as Density
from .view.kinds import HeatMap as HeatMap
from .view.kinds import Intervals as Intervals
from .view.kinds import Lines as Lines
from .view.kinds import Scatter as Scatter
from .view.kinds import Surface as Surface
from .view.own import Own as Own
