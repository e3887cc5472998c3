"""What to cite: BibTeX of the five papers, of the datasets and of this software, by name or for what one holds."""

from __future__ import annotations

from .cite import USES as USES
from .cite import BibTeX as BibTeX
from .cite import cite as cite
from .cite import keys as keys
