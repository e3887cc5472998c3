"""The rows of dml in the ledger, and what they are measured with."""

from __future__ import annotations

from ....claims.claim import about
from .rows import CLAIMS as _ROWS

CLAIMS = about(_ROWS, "classes", "labels", but=("dml.T0", "dml.R"), modalities=2)
