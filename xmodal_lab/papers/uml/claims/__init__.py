"""The rows of uml in the ledger, and what they are measured with."""

from __future__ import annotations

from .rows import CLAIMS as CLAIMS
