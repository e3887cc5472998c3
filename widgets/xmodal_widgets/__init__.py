"""The live layer of xmodal_lab: a whole sweep behind every slider.

- ``explore(cube)``: views and controls from the cube's dimensions
- ``SweepView(cube, [Surface("loss", col="modalities")], share=0.25)``: chosen ones, with the slider ``share`` at 0.25

The cube goes to the browser once; moving a control never asks the kernel.
"""

from __future__ import annotations

from .sweep_view import SweepView as SweepView
from .sweep_view import explore as explore
from .views import Bars as Bars
from .views import Contour as Contour
from .views import HeatMap as HeatMap
from .views import Lines as Lines
from .views import Scatter as Scatter
from .views import Surface as Surface
