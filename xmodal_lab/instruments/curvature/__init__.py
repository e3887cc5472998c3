"""Curvature of a loss: products, leading eigenvalues, spectral density, trace.

Of the Hessian, the generalised Gauss-Newton matrix (``of="ggn"``) or the empirical Fisher (``of="fisher"``), for any
:class:`~xmodal_lab.losses.Loss`, for the whole of θ or one block of it (``params="encoders.image"``). The matrix is
never formed unless it is small. To measure several things at one point, build ``H = hessian(loss)`` (or ``ggn``,
``fisher``) once and hand it over in place of the loss.

The dml code reports λ_max of the loss plus ½·10⁻⁴‖θ‖² (FIELD_NOTES), which shifts every
eigenvalue by 10⁻⁴; that is a loss like any other: add the term in ``fn``.
"""

from __future__ import annotations

from .feature import FeatureHessian as FeatureHessian
from .feature import feature_hessian as feature_hessian
from .gauss_newton import GGN as GGN
from .gauss_newton import EmpiricalFisher as EmpiricalFisher
from .matrices import fisher as fisher
from .matrices import ggn as ggn
from .matrices import hessian as hessian
from .operator import Hessian as Hessian
from .spectral_density import Density as Density
from .spectral_density import density as density
from .spectrum import DENSE as DENSE
from .spectrum import Eigenvalues as Eigenvalues
from .spectrum import R as R
from .spectrum import by_block as by_block
from .spectrum import eigenvectors as eigenvectors
from .spectrum import top_eigenvalues as top_eigenvalues
from .traces import Trace as Trace
from .traces import trace as trace
