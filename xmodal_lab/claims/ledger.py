"""The ledger on disk: one JSON row per claim, merged into ``claims.json`` and rendered as ``CLAIMS.md``.

Rows of another dataset than the claims' own worlds make a ledger of their own: ``claims_avmnist.json``.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import math
import os
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..sweeps import commit
from ..utils.files import seal, write_text
from ..utils.torch_state import pick_device
from ..utils.version import __version__
from .claim import Claim, Conditions
from .steps import Step
from .verdicts import NEEDS, Measured

Row = dict[str, Any]
FORMAT = 2
PARTS = ("steps", "controls", "readings")
SHIPPED = Path(__file__).parent / "shipped" / "claims.json"
NOT_MEASURED = "not measured"


def versions() -> dict[str, str]:
    """Of what the numbers depend on."""
    import numpy as np
    import torch

    return {"xmodal_lab": __version__, "torch": str(torch.__version__), "numpy": str(np.__version__)}


def device_name() -> str:
    """What ``device="auto"`` trains on here: "cpu", "mps", or the name of the GPU."""
    import torch

    kind = pick_device().type
    return torch.cuda.get_device_name() if kind == "cuda" else kind


def machine() -> str:
    """The machine of a row, with its GPU if it has one."""
    device = device_name()
    return f"{platform.machine()}, {os.cpu_count()} cores" + ("" if device == "cpu" else f", {device}")


@dataclass(frozen=True)
class Rows:
    """Finished rows in a folder, so that a killed run goes on; None keeps nothing."""

    folder: Path | None
    conditions: Conditions

    def get(self, claim: Claim) -> Row | None:
        """The row of ``claim`` under these conditions, if it was finished."""
        if self.folder is None or not self._path(claim).is_file():
            return None
        try:
            held = json.loads(self._path(claim).read_text(encoding="utf-8"))
            row: Row = held["row"]
            if held["seal"] != seal(row):
                return None
            return judged_again(row, claim, partial=self.conditions.dataset is not None)
        except (ValueError, KeyError, TypeError, RecursionError):  # cut short, or damaged on disk: measure it again
            return None

    def keep(self, claim: Claim, measured: Measured | Exception, seconds: float, clock: float) -> Row:
        """The row of what was measured; written unless it is an error."""
        row = row_of(claim, self.conditions, measured, seconds, clock)
        if self.folder is not None and not isinstance(measured, Exception):
            held = json.loads(json.dumps(row))  # as it will be read
            write_text(self._path(claim), json.dumps({"seal": seal(held), "row": held}, ensure_ascii=False, indent=1))
        return row

    def _path(self, claim: Claim) -> Path:
        assert self.folder is not None
        c = self.conditions
        seeds = list(c.seeds) if claim.trained else []
        data = "" if c.dataset is None else [c.dataset.name, c.dataset.fingerprint]
        measure = [getattr(claim.measure, name, "") for name in ("__module__", "__qualname__")]
        what = [claim.id, claim.text, measure, c.budget, seeds, data, repr(sorted(c.settings.items())), versions()]
        if (device := device_name()) != "cpu":  # other rounding: a row of its own
            what.append(device)
        digest = hashlib.sha256(json.dumps(what).encode()).hexdigest()[:12]
        return self.folder / f"{claim.id}-{digest}.json"


def row_of(claim: Claim, conditions: Conditions, measured: Measured | Exception, seconds: float, clock: float) -> Row:
    """One row: the claim, what was measured, and how.

    ``seconds`` are of processor time, all processes together; what rows share counts once, with the row that was
    measured first. ``clock`` is how long one waited for it.
    """
    if isinstance(measured, Exception):
        measured = Measured(f"{NEEDS} …", "", note=f"{type(measured).__name__}: {measured}")
        measured_part = judged(measured) | {"verdict": NOT_MEASURED}
    else:  # from what the row keeps, which is rounded: it reads the same when it is judged again
        measured_part = judged(measured_of(judged(measured)).beside(None, partial=True))
    told = ", ".join(sorted(conditions.devices - {""}))
    if not told and claim.trained:  # nets that no sweep trained are trained on "auto"
        told = device_name()
    return {
        "id": claim.id, "paper": claim.paper, "claim": claim.text, "source": claim.source, "printed": claim.printed,
        **measured_part,
        "budget": conditions.budget, "seeds": list(conditions.seeds) if claim.trained else [],
        "settings": dict(conditions.settings), "device": told,
        **_data(conditions), "seconds": round(seconds, 2), "clock": round(clock, 2),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(), "commit": commit(),
        "versions": versions(), "machine": machine(),
    }  # fmt: skip


def judged(measured: Measured) -> Row:
    """What a row says of a measurement: the word, the interval it rests on, and what that could have seen."""
    step = measured.weakest
    row = {
        "measured": measured.text, "value": measured.value, "interval": measured.interval, "n": measured.n,
        "verdict": measured.verdict, "note": measured.note, "numbers": dict(measured.numbers),
        "step": step.name if step else "", "unit": step.unit if step else "",
        "effect": step.target if step else None, "mde": step.seen if step else None,
        "needed": step.needed if step else None, "room": measured.room, "cap": measured.cap,
        **{name: [s.row() for s in getattr(measured, name)] for name in PARTS},
    }  # fmt: skip
    found: Row = json.loads(json.dumps(row))  # as it reads from a file
    return found


def measured_of(row: Mapping[str, Any]) -> Measured:
    """The measurement that a row keeps, for a rule to judge again."""
    parts = {name: tuple(Step.of(step) for step in row.get(name, ())) for name in PARTS}
    return Measured(
        row["verdict"], row["measured"], row["value"], row["interval"], row["n"], row["note"], row["numbers"],
        **parts, room=row.get("room"), cap=row.get("cap", ""),
    )  # fmt: skip


def judged_again(row: Row, claim: Claim, partial: bool = True) -> Row:
    """A finished row beside the effect that the claim states now: another printed number is no new measurement.

    Args:
        row: as :func:`row_of` made it.
        claim: of the same id.
        partial: whether effects of steps that the row does not have are left out; else they are an error.

    Raises:
        ValueError: an effect in another unit than the kept outcomes have.
    """
    found = claim.beside(measured_of(row), partial=partial)
    return {**row, "printed": claim.printed, "source": claim.source, **judged(found)}


def rows_in(path: Path) -> dict[str, Row]:
    """Rows by id of a ``claims.json``.

    Raises:
        FileNotFoundError, ValueError: no such file; a file that is no ledger.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no ledger at {path}; `xmodal claims --run --write` makes one.")
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        rows = {row["id"]: row for row in held["rows"]}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{path.name} is no ledger of claims: {error!r}.") from None
    if held.get("format") != FORMAT:
        raise ValueError(f"{path.name} has ledger format {held.get('format')!r}, this version reads {FORMAT}.")
    return rows


@lru_cache(maxsize=8)
def shipped(dataset: str = "") -> dict[str, Row]:
    """Rows of the ledger that ships with this version: on the claims' own worlds, or on ``dataset``."""
    path = place(dataset)
    return rows_in(path) if path.is_file() else {}


def place(dataset: str = "", suffix: str = "json") -> Path:
    """Where the ledger on ``dataset`` stands in the package, or its page ("md") and picture ("svg") in the checkout.

    Raises:
        ValueError: a name that is no file name.
    """
    if not re.fullmatch(r"\w{0,100}", dataset):
        raise ValueError(f"a ledger is called by letters, digits and underscores, got dataset {dataset!r}.")
    beside = f"_{dataset}" if dataset else ""
    checkout = Path(__file__).resolve().parents[2]
    if suffix == "md":
        return checkout / f"CLAIMS{beside.upper()}.md"
    if suffix == "svg":
        return checkout / "docs" / f"claims{beside}.svg"
    return SHIPPED.with_name(f"{SHIPPED.stem}{beside}.json")


def _data(conditions: Conditions) -> Row:
    """The name of the user's dataset, its sizes, encoders and fingerprint; an empty name for a claim's own world."""
    given = conditions.dataset
    if given is None:
        return {"dataset": ""}
    sizes = repr(given).partition(": ")[2].rstrip(")")
    encoders = {m: given.provenance.get(f"{m} encoder") for m in given.modalities}
    through = "".join(f"; {m} through {Path(e['model']).name} {e['revision'][:8]}" for m, e in encoders.items() if e)
    return {"dataset": given.name, "data": f"{sizes}{through}; fingerprint {given.fingerprint}"}


def without_nan(value: Any) -> Any:
    """``value`` with None where a number is not finite: JSON knows no NaN, and a frame turns None into one."""
    if isinstance(value, Mapping):
        return {k: without_nan(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
