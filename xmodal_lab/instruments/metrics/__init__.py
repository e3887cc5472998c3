"""Scores of predictions, retrieval, clusters and clouds, as the five papers use them.

All that labels ask for, of outputs or of a model: :func:`scores`.

Predictions: :func:`accuracy`, :func:`f1_macro`, :func:`auroc`, :func:`expected_calibration_error`,
:func:`disagreement`. Embeddings: :func:`recall_at_k`, :func:`functional_margin`, :func:`prototype_alignment`,
:func:`silhouette`, :func:`davies_bouldin`, :func:`mmd`.

scikit-learn computes what it has (F1, AUROC, silhouette, Davies-Bouldin); the rest is here.
Everything takes tensors or arrays; scores are floats, results per sample are tensors.
"""

from __future__ import annotations

from .discrepancy import MMD as MMD
from .discrepancy import mmd as mmd
from .embeddings import SIMILARITIES as SIMILARITIES
from .embeddings import PrototypeAlignment as PrototypeAlignment
from .embeddings import class_means as class_means
from .embeddings import davies_bouldin as davies_bouldin
from .embeddings import functional_margin as functional_margin
from .embeddings import prototype_alignment as prototype_alignment
from .embeddings import recall_at_k as recall_at_k
from .embeddings import silhouette as silhouette
from .predictions import Disagreement as Disagreement
from .predictions import accuracy as accuracy
from .predictions import auroc as auroc
from .predictions import disagreement as disagreement
from .predictions import expected_calibration_error as expected_calibration_error
from .predictions import f1_macro as f1_macro
from .scores import scores as scores
