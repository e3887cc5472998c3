"""Fisher information of linear-Gaussian worlds whose modalities share parameters, and exchange rates.

    X_i = A_c θ_c + A_x θ_x + ε,  ε ~ N(0, σ_x² I)       Y_j = B_c θ_c + B_y θ_y + ε,  ε ~ N(0, σ_y² I)

(uml, Eq. 1 and 2; the designs A and B are known, θ is one fixed vector.) Unpaired samples are
independent, so their informations add. What they say about θ_c can be read in three ways:

    "printed"   Σ A_cᵀ A_c              the paper's block (App C.2); it drops the noise's 1/σ²
    "block"     Σ A_cᵀ A_c / σ²         the θ_c block: θ_x and θ_y are known
    "schur"     I_cc − I_co I_oo⁺ I_oc  θ_x and θ_y are unknown and estimated too: what the data really say

    f = fisher({"A_c": …, "A_x": …, "B_c": …, "B_y": …}, sigma_x=0.3, n_x=50, n_y=50)
    f.variance(v, "x+y")                the least variance of an unbiased estimator of vᵀθ_c
    f.rate(v)                           how many Y are worth one more X, for that variance
    f.report()                          block beside Schur

The last two agree when θ_c is Fisher-orthogonal to the rest, as the paper assumes. Accuracies
over shots of two modalities have an exchange rate of their own: :func:`exchange_rate`.
"""

from __future__ import annotations

from .exchange import ExchangeRate as ExchangeRate
from .exchange import Fit as Fit
from .exchange import exchange_rate as exchange_rate
from .linear import METHODS as METHODS
from .linear import Channel as Channel
from .linear import Design as Design
from .linear import Fisher as Fisher
from .linear import MonteCarlo as MonteCarlo
from .linear import fisher as fisher
from .linear import monte_carlo as monte_carlo
from .loewner import RTOL as RTOL
from .loewner import Order as Order
from .loewner import order as order
from .loewner import schur as schur
