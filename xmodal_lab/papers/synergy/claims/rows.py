"""The ledger's rows for synergy, in the paper's order; what measures them stands in three files by kind."""

from __future__ import annotations

from ....claims.claim import Claim
from . import gains as claims_gains
from . import latents as claims_latents
from . import theory as claims_theory

_BY_ID = {claim.id: claim for part in (claims_theory, claims_latents, claims_gains) for claim in part.CLAIMS}
_ORDER = ("T1", "C1", "R1", "T2", "R2", "A1", "A2", "A3", "A4", "A5", "W", "L", "α", "P", "D", "V")
CLAIMS: tuple[Claim, ...] = tuple(_BY_ID[f"synergy.{name}"] for name in _ORDER)
