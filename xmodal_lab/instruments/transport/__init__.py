"""Distances between clouds of points, and transport plans between sets of tokens.

Clouds: :func:`w2` (exact, Gaussian, sliced, entropic), :func:`modality_gap` (of a model: :func:`modality_gaps`),
:func:`sampling_bias`.
Tokens: :func:`emd`, :func:`ipot`, :func:`sinkhorn` on a :func:`cost_matrix`.
Theory: :func:`alpha_star` and :func:`interpolation_cost` (synergy Thm 1 and 2).
"""

from __future__ import annotations

from .clouds import SlicedW2 as SlicedW2
from .clouds import sliced_w2 as sliced_w2
from .clouds import w2 as w2
from .costs import cost_matrix as cost_matrix
from .gap import ModalityGap as ModalityGap
from .gap import SamplingBias as SamplingBias
from .gap import latent_variance as latent_variance
from .gap import modality_gap as modality_gap
from .gap import sampling_bias as sampling_bias
from .gap import variance_ratio as variance_ratio
from .of_models import modality_gaps as modality_gaps
from .plans import ipot as ipot
from .plans import sinkhorn as sinkhorn
from .simplex import emd as emd
from .token_sets import TransportPlan as TransportPlan
from .triangle import AlphaStar as AlphaStar
from .triangle import alpha_star as alpha_star
from .triangle import interpolation_cost as interpolation_cost
