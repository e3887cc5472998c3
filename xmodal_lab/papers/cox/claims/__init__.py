"""The rows of cox in the ledger, and what they are measured with."""

from __future__ import annotations

from ....claims.claim import about
from .rows import CLAIMS as _ROWS

CLAIMS = about(_ROWS, "classes", modalities=3)
