"""Which sample of one modality meets which sample of another: index tensors, nothing else.

A pairing says, for each row of an epoch and each modality, from which row that modality's
input is taken. Because it is data and not code, every setting of the live controls runs
through the same program: share 0 is standard multimodal learning (SML), share 1 of
``same_class`` is distributional multimodal learning (DML; dml, Sec 3.3).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from ..utils import checks as check
from ..utils.random import mixed
from .labels import task_of
from .samples import Samples

MODES = ("fixed", "same_class", "permuted", "shuffled", "noisy")
ROWS = ("complete", "all")
_Found = TypeVar("_Found")
# What does not change from epoch to epoch is sorted out once per samples, and forgotten with them.
_KEPT = 64
_AT_ONCE = 1 << 22  # rows of all members that are drawn for at once: tables of 32 MiB (ours)
_KNOWN: WeakKeyDictionary[Samples, dict[tuple[object, ...], object]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Pairs:
    """One epoch's pairs: ``rows`` (n,) int64 and, in ``index`` per modality, the row its input is taken from (n,).

    ``samples`` are always those that the pairs were drawn from.
    """

    rows: Tensor
    index: dict[str, Tensor]

    def __len__(self) -> int:
        return len(self.rows)

    def labels(self, samples: Samples) -> Tensor:
        """Labels of the rows, (n,)."""
        check.instance("samples", samples, Samples, "such as dataset.train")
        return samples.labels[self.rows.to(samples.labels.device)]

    def inputs(self, samples: Samples, take: Tensor | slice = slice(None)) -> dict[str, Tensor]:
        """Inputs by modality for the pairs that ``take`` names, each (len(take), ...)."""
        check.instance("samples", samples, Samples, "such as dataset.train")
        return {m: samples.inputs[m][where[take]] for m, where in self.index.items()}


@dataclass(frozen=True)
class Pairing:
    """How partners are chosen. The first modality asked for keeps its own row; the others may change.

    Args:
        mode: ``fixed`` the row's own partner; ``same_class`` a partner drawn from all rows of the
            same class, with replacement (dml, Sec 3.3), and where a row has several classes from those of the same
            set of classes (ours); ``permuted`` the same without replacement, so
            that an epoch meets each partner of a class as often as any other (once more at most);
            ``shuffled`` from all rows; ``noisy`` from the rows of *other* classes (noisy
            correspondence: surely wrong pairs).
        share: chance, in [0, 1], that a row's partner is drawn; the others keep their own.
            Rows drawn at a smaller share are drawn at a larger one too (same seed and epoch). Below
            1, a partner that ``permuted`` gives may also be one that a row has kept.
        own: whether ``same_class`` and ``shuffled`` may draw the row's own partner. AVMNIST's code
            in dml allows it, that of CREMA-D and Food101 does not (FIELD_NOTES). ``permuted`` always may.
        rows: rows of an epoch. ``complete``: those in which every modality of the samples is present.
            ``all``: every row with at least one of the asked modalities; what a row lacks is filled
            once, for the whole run, with a partner of its class, so that every sample is seen. With
            ``fixed`` that is the control in which SML sees all that DML sees.

    Raises:
        ValueError: unknown mode or rows, a share outside [0, 1], ``permuted`` with ``own=False``.

    Example:
        >>> import xmodal_lab as xl
        >>> train = xl.load("digits", modalities=("image", "audio")).train
        >>> pairs = xl.Pairing("same_class", share=0.5).draw(train, seed=0)
        >>> same = train.labels[pairs.index["audio"]] == pairs.labels(train)
        >>> len(pairs), bool(same.all())
        (250, True)
    """

    mode: str = "fixed"
    share: float = 1.0
    own: bool = True
    rows: str = "complete"

    def __post_init__(self) -> None:
        check.one_of("pairing", self.mode, MODES)
        check.one_of("rows", self.rows, ROWS)
        check.share("share", self.share)
        if self.mode == "permuted" and not self.own:
            raise ValueError("pairing 'permuted' may give a row its own partner; use 'same_class' with own=False.")

    def draw(
        self, samples: Samples, modalities: Sequence[str] | None = None, *, seed: int = 0, epoch: int = 0
    ) -> Pairs:
        """The pairs of one epoch; the same for the same seed and epoch.

        Raises:
            ValueError: unknown modality; no complete row; unknown labels (-1) where classes are
                needed; a class from which no partner can be drawn.
        """
        check.instance("samples", samples, Samples, "such as dataset.train")
        names = check.modalities_of(modalities, samples.modalities)
        seed, epoch = check.integer("seed", seed, at_least=0), check.integer("epoch", epoch, at_least=0)
        base = self._base(samples, names, seed)
        if self.mode == "fixed" or self.share == 0:
            return base
        generator = torch.Generator().manual_seed(mixed(seed, epoch + 1))
        labels = _once(samples, ("labels",), lambda: _grouped(samples.labels))
        index = {names[0]: base.index[names[0]]}
        for m in names[1:]:
            pool = _pool(samples, m)
            drawn = pool.draw(self.mode, labels[base.rows], base.index[m], [generator], own=self.own)
            # Drawn for every row and then taken or not, so that a slider of share adds rows and moves none.
            changed = torch.rand(len(base), generator=generator, dtype=torch.float32) < self.share
            index[m] = torch.where(changed, drawn, base.index[m])
        return Pairs(base.rows, index)

    def _base(self, samples: Samples, names: Sequence[str], seed: int) -> Pairs:
        """The fixed pairs, which do not change from epoch to epoch."""
        key = ("base", self.rows, names, seed if self.rows == "all" else None)
        return _once(samples, key, lambda: self._fixed(samples, names, seed))

    def _fixed(self, samples: Samples, names: Sequence[str], seed: int) -> Pairs:
        present = {m: p.cpu() for m, p in samples.present.items()}
        # Complete in all modalities of the samples, not only those asked: one alone trains on the same rows as both.
        if self.rows == "complete":
            keep = torch.stack(list(present.values())).all(0)
            if not bool(keep.any()):
                raise ValueError(
                    f"no row has all of {', '.join(samples.modalities)}; select fewer modalities, "
                    "or use pairing=xl.Pairing(rows='all') to fill what is absent with partners of the same class."
                )
            rows = keep.nonzero()[:, 0]
            return Pairs(rows, dict.fromkeys(names, rows))
        rows = torch.stack([present[m] for m in names]).any(0).nonzero()[:, 0]
        generator = torch.Generator().manual_seed(mixed(seed, 0))
        labels = _grouped(samples.labels)[rows]
        index = {}
        for m in names:
            here = present[m][rows]
            index[m] = rows
            if not bool(here.all()):
                index[m] = rows.clone()
                drawn = _pool(samples, m).draw("same_class", labels[~here], rows[~here], [generator], own=True)
                index[m][~here] = drawn
        return Pairs(rows, index)


def draw_together(
    plans: Sequence[Pairing],
    samples: Samples,
    modalities: Sequence[Sequence[str]],
    *,
    seeds: Sequence[int],
    epoch: int,
) -> list[Pairs]:
    """What each of K members draws alone, number for number, in a few operations for all of them.

    Random numbers come from a generator per member; all else is one operation over the members that draw alike.

    Args:
        plans: of the members.
        samples: the same for all.
        modalities: of each member.
        seeds: of each member.
        epoch: as in :meth:`Pairing.draw`.

    Returns:
        The pairs of each member.

    Raises:
        ValueError: as :meth:`Pairing.draw`; lists of other lengths than ``plans``.
        TypeError: ``plans`` are no pairings.
    """
    check.instance("samples", samples, Samples, "such as dataset.train")
    plans = [check.instance("plans", plan, Pairing) for plan in check.listed("plans", plans)]
    names_of = [check.modalities_of(m, samples.modalities) for m in check.listed("modalities", modalities)]
    seeds = [check.integer("seeds", seed, at_least=0) for seed in check.listed("seeds", seeds)]
    epoch = check.integer("epoch", epoch, at_least=0)
    if not len(plans) == len(names_of) == len(seeds):
        raise ValueError(
            f"plans, modalities and seeds have one entry for each member, got {len(plans)}, {len(names_of)} and "
            f"{len(seeds)}."
        )
    found: dict[int, Pairs] = {}
    alike: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for k, plan in enumerate(plans):
        if plan.mode in ("same_class", "shuffled", "noisy") and plan.share > 0:
            alike[(plan.mode, plan.own, plan.rows, names_of[k])].append(k)
        else:  # nothing to draw, or orders of whole classes
            found[k] = plan.draw(samples, names_of[k], seed=seeds[k], epoch=epoch)
    for members in alike.values():
        # In pieces, so that 256 members of a large dataset do not hold every table of a draw at once.
        at_once = max(1, _AT_ONCE // max(1, len(samples)))
        for piece in (members[i : i + at_once] for i in range(0, len(members), at_once)):
            plan, names = plans[piece[0]], names_of[piece[0]]
            shares = torch.tensor([plans[k].share for k in piece], dtype=torch.float32)
            drawn = _alike(plan, shares, samples, names, [seeds[k] for k in piece], epoch)
            found |= dict(zip(piece, drawn, strict=True))
    return [found[k] for k in range(len(plans))]


def _alike(
    plan: Pairing, shares: Tensor, samples: Samples, names: Sequence[str], seeds: Sequence[int], epoch: int
) -> list[Pairs]:
    """The pairs of members that differ in seed and share alone."""
    bases = [plan._base(samples, names, seed) for seed in seeds]
    generators = [torch.Generator().manual_seed(mixed(seed, epoch + 1)) for seed in seeds]
    labels = _once(samples, ("labels",), lambda: _grouped(samples.labels))
    rows = torch.cat([base.rows for base in bases])
    index = {}
    for m in names[1:]:
        current = torch.cat([base.index[m] for base in bases])
        drawn = _pool(samples, m).draw(plan.mode, labels[rows], current, generators, own=plan.own)
        changed = _uniform(len(rows), generators, torch.float32).view(len(seeds), -1) < shares[:, None]
        index[m] = torch.where(changed.view(-1), drawn, current).view(len(seeds), -1)
    return [
        Pairs(base.rows, {names[0]: base.index[names[0]], **{m: table[k] for m, table in index.items()}})
        for k, base in enumerate(bases)
    ]


class _Pool:
    """The rows that have one modality, sorted by class, to draw partners from."""

    def __init__(self, samples: Samples, modality: str) -> None:
        self.modality = modality
        labels = _grouped(samples.labels)
        rows = samples.present[modality].cpu().nonzero()[:, 0]
        if len(rows) == 0:
            raise ValueError(f"no row has modality {modality!r}, so no partner can be drawn from it.")
        if task_of(labels) != "classes":
            labels = torch.zeros(len(labels), dtype=torch.long)  # everything is one class
        elif int(labels.min()) < 0:
            raise ValueError("some labels are unknown (-1); drawing partners by class needs every label.")
        # Sorted by class, a class is a range of places, and a draw is one number below its length.
        order = torch.argsort(labels[rows], stable=True)
        self.rows = rows[order]
        self.counts = torch.bincount(labels[self.rows], minlength=int(labels.max()) + 1)
        self.starts = self.counts.cumsum(0) - self.counts
        self.place = torch.full((len(labels),), -1)  # where each row stands in the sorted pool
        self.place[self.rows] = torch.arange(len(self.rows))

    def draw(
        self, mode: str, labels: Tensor, current: Tensor, generators: Sequence[torch.Generator], *, own: bool
    ) -> Tensor:
        """One partner per entry of ``labels`` (n,), as rows of the samples (n,).

        Each of several ``generators`` draws for its own equal part of them, in order.
        """
        if task_of(labels) != "classes":
            if mode != "shuffled":
                raise ValueError(f"pairing {mode!r} needs class labels; these are real-valued. Use 'shuffled'.")
            labels = torch.zeros(len(labels), dtype=torch.long)
        total = len(self.rows)
        starts, counts = self.starts[labels], self.counts[labels]
        if mode == "shuffled":
            starts, counts = torch.zeros_like(starts), torch.full_like(counts, total)
        if mode == "noisy":
            room = total - counts
            self._need(room, labels, "another class")
            place = _below(room, generators)
            place = place + counts * (place >= starts)  # step over the own class
            return self.rows[place]
        if mode == "permuted":
            self._need(counts, labels, "the same class")
            parts = labels.chunk(len(generators))
            return torch.cat([self._permuted(part, g) for part, g in zip(parts, generators, strict=True)])
        skip = torch.zeros_like(counts)
        if not own:  # leave the current partner out, if it stands in the range
            at = self.place[current]
            skip = ((at >= starts) & (at < starts + counts)).long()
        self._need(counts - skip, labels, "the same class" if mode == "same_class" else "the samples")
        place = starts + _below(counts - skip, generators)
        if not own:
            place = place + ((skip > 0) & (place >= self.place[current])).long()
        return self.rows[place]

    def _permuted(self, labels: Tensor, generator: torch.Generator) -> Tensor:
        """Partners of each class in random order, from the start again where the class has more rows than partners."""
        drawn = torch.empty_like(labels)
        for c in labels.unique().tolist():
            at = (labels == c).nonzero()[:, 0]
            start, count = int(self.starts[c]), int(self.counts[c])
            rounds = -(-len(at) // count)
            order = torch.cat([torch.randperm(count, generator=generator) for _ in range(rounds)])
            drawn[at] = self.rows[start + order[: len(at)]]
        return drawn

    def _need(self, room: Tensor, labels: Tensor, where: str) -> None:
        if bool((room < 1).any()):
            empty = sorted({int(c) for c in labels[room < 1]})
            raise ValueError(
                f"no partner of {where} has modality {self.modality!r} for class {', '.join(map(str, empty))}; "
                "add samples of it, or choose another pairing."
            )


def _grouped(labels: Tensor) -> Tensor:
    """Labels on the CPU; of several classes a row (N, C) a number (N,) for each set of classes that occurs."""
    labels = labels.cpu()
    if task_of(labels) != "labels":
        return labels
    groups: Tensor = labels.unique(dim=0, return_inverse=True)[1]
    return groups


def _pool(samples: Samples, modality: str) -> _Pool:
    return _once(samples, ("pool", modality), lambda: _Pool(samples, modality))


def _once(samples: Samples, key: tuple[object, ...], make: Callable[[], _Found]) -> _Found:
    """``make()``, kept as long as ``samples`` live and nobody writes into their labels or masks."""
    state = (samples.labels._version, *(p._version for p in samples.present.values()))
    known = _KNOWN.setdefault(samples, {})
    found = known.get(key)
    if not isinstance(found, tuple) or found[0] != state:
        if len(known) >= _KEPT:  # many seeds on one split
            known.clear()
        found = known[key] = (state, make())
    kept: _Found = found[1]
    return kept


def _below(limits: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
    """Whole numbers drawn uniformly from 0 to limit - 1, one per limit."""
    drawn = (_uniform(len(limits), generators, torch.float64) * limits).long()
    return torch.minimum(drawn, limits - 1)


def _uniform(count: int, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Tensor:
    """(count,) numbers from 0 to 1, of which each generator draws an equal part."""
    table = torch.empty(len(generators), count // len(generators), dtype=dtype)
    for row, generator in zip(table, generators, strict=True):
        torch.rand(row.shape, generator=generator, out=row)
    return table.view(-1)
