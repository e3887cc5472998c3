"""The ledger: every claim of the five papers, what it printed, what was measured, and a verdict.

- ``xl.claims.table()``: the ledger that ships with this version; ``xl.claims.show("dml")`` for reading
- ``xl.claims.run(["dml.A", "dml.H"])``: measure again, here
- ``xl.claims.run("dml", dataset=my_dataset)``: does it hold on my data?
- ``xl.claims.run(my_claim)``, ``xl.claims.run("my_package.rows:CLAIMS")``: a ledger of one's own
- ``xl.claims.repeat()``: a tenth of the rows again with other seeds; how many words agree?
- ``xl.claims.firmness()``: how likely is each word with other seeds, by what the row kept; nothing is trained
- ``xl.claims.effects()``: each interval beside the printed effect, tidy, for a picture (``xl.plots.effects``)
- ``xl.claims.table(dataset="avmnist")``: as measured on real AVMNIST

A claim stands beside its paper (``papers/<paper>/claims.py``); the words come from ``verdicts``.
"""

from __future__ import annotations

from .claim import BUDGETS as BUDGETS
from .claim import Claim as Claim
from .measuring import PAPERS as PAPERS
from .measuring import SHOWN as SHOWN
from .measuring import chosen as chosen
from .measuring import effects as effects
from .measuring import finished as finished
from .measuring import known as known
from .measuring import run as run
from .measuring import show as show
from .measuring import table as table
from .repeating import firmness as firmness
from .repeating import repeat as repeat
from .verdicts import VERDICTS as VERDICTS
