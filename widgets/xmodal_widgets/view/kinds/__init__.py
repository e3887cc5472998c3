"""What a panel can show: small frozen descriptions, checked against the cube before anything is drawn."""

from __future__ import annotations

from .defaults import default_views as default_views
from .defaults import look_views as look_views
from .planes import Contour as Contour
from .planes import HeatMap as HeatMap
from .planes import Surface as Surface
from .points import Intervals as Intervals
from .points import Scatter as Scatter
from .series import Bars as Bars
from .series import Density as Density
from .series import Lines as Lines
from .view import View as View
from .view import controls_of as controls_of
