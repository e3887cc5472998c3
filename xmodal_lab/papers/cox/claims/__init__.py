"""The rows of cox in the ledger, and what they are measured with."""

from __future__ import annotations

from .rows import CLAIMS as CLAIMS
