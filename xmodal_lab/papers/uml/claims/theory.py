"""The ledger's rows on uml's theory: theorems on random designs; the Gaussian experiment is beside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

import torch

from ....claims.claim import Claim, Conditions
from ....claims.verdicts import Measured, exact
from ....instruments.information import Fisher, monte_carlo
from ....instruments.information.loewner import in_range, rank
from ....utils.factors import eigh
from ..theory import theorems as theory
from ..theory.designs import draw, half_seen, spent
from ..theory.theorems import Check
from .gaussian import GAUSSIAN


def _seeds(conditions: Conditions) -> range:
    """Of the designs; other seeds of the ledger draw other designs."""
    first = 1000 * conditions.seeds[0]
    return range(first, first + (64 if conditions.quick else 640))


def _partial(conditions: Conditions) -> Iterator[Fisher]:
    """Worlds of three shared parameters in which X sees 0 to 3 of them and Y 1 to 3; Fisher-orthogonal."""
    for seed in _seeds(conditions):
        yield draw(seed, rank_x=seed % 4, rank_y=1 + seed // 4 % 3)


def _directions(world: Fisher, seed: int) -> list[torch.Tensor]:
    """One at random, one that X sees, and the eigenvectors of M_X."""
    m_x = world.information("x", "block")
    v = torch.randn(world.shared, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    inside = [m_x @ v] if bool(m_x.any()) else []
    return [v, *inside, *eigh(m_x)[1].T]


def theorem_1(conditions: Conditions) -> Measured:
    """Thm 1 on Fisher-orthogonal designs, as the paper assumes; beside it what unknown θ_y does to others."""
    kinds = ("orthogonal", "generic", "inside")
    found = {k: [theory.theorem_1(draw(seed, k), "schur") for seed in _seeds(conditions)] for k in kinds}
    held = {k: sum(c.holds for c in checks) for k, checks in found.items()}
    total = len(found["orthogonal"])
    note = (
        f"With θ_x and θ_y unknown (Schur complement): {held['generic']} of {total} designs that are not "
        f"Fisher-orthogonal, {held['inside']} of {total} with range(B_c) inside range(B_y) (Y then says nothing). "
        "Trap: Lemma 2 (pseudo-inverses) is empty: on a kernel that M and N share, M ≺ N cannot be."
    )
    worst = min(c.margin for c in found["orthogonal"])
    return exact(held["orthogonal"], total, "Fisher-orthogonal designs", note=note, numbers={**held, "least": worst})


def theorem_2(conditions: Conditions) -> Measured:
    """Thm 2's first half: information along v. Its second half is :func:`off_range` and :func:`inside_range`."""
    checks = [
        theory.theorem_2(world, v, "information")
        for seed, world in enumerate(_partial(conditions)) for v in _directions(world, seed)
    ]  # fmt: skip
    met = [c for c in checks if c.assumed]
    return exact(sum(c.concluded for c in met), len(met), "designs and directions")


def corollary_1(conditions: Conditions) -> Measured:
    """Cor 1 on designs whose informations have the same eigenvectors."""
    checks: list[Check] = []
    for seed in _seeds(conditions):
        world = draw(seed, "aligned", rank_x=1 + seed % 3, rank_y=1 + seed // 3 % 3)
        axes = eigh(world.information("x") + 1.7 * world.information("y"))[1].T
        checks += [c for v in axes if (c := theory.corollary_1(world, v)).assumed]
    worst = max(c.margin for c in checks)
    return exact(sum(c.holds for c in checks), len(checks), "common eigenvectors", worst=worst)


def off_range(conditions: Conditions) -> Measured:
    """Thm 2 for v off range(M_X), and Cor 2, its case vᵀM_X v = 0."""
    tally: Counter[tuple[bool, bool]] = Counter()
    for seed, world in enumerate(_partial(conditions)):
        both = world.information(method="block")
        for v in _directions(world, seed):
            seen = in_range(both, v, world.rtol)
            for result in (theory.theorem_2(world, v, "off range"), theory.corollary_2(world, v)):
                if result.assumed:
                    tally[seen, result.concluded] += 1
    broken = not theory.corollary_2(half_seen(), [1, 1]).holds
    note = (
        f"Where X + Y together see v: {_share(tally, True)}; elsewhere {_share(tally, False)}: Y sees a part of v, X "
        "nothing, and no unbiased estimator exists. X sees nothing, Y = θ1 + ε, v = (1, 1) is a counterexample. The "
        "paper's pseudo-inverse calls that variance finite."
    )
    return _split(tally, note, {"counterexample": int(broken)})


def inside_range(conditions: Conditions) -> Measured:
    """Thm 2 for v in range(M_X) with C_v ≠ 0, and Cor 3, whose eigenvectors satisfy it."""
    tally: Counter[tuple[bool, bool]] = Counter()
    for seed, world in enumerate(_partial(conditions)):
        whole = rank(world.information("x", "block"), world.rtol) == world.shared
        for v in _directions(world, seed):
            for result in (theory.theorem_2(world, v, "inside"), theory.corollary_3(world, v)):
                if result.assumed:
                    tally[whole, result.concluded] += 1
    simulated = float(monte_carlo(spent(), draws=4000).covariance[0, 0])
    broken = not theory.corollary_3(spent(), [1, 0]).holds and not theory.theorem_2(spent(), [1, 0], "inside").holds
    note = (
        f"Where X sees all of θ_c: {_share(tally, True)}; elsewhere {_share(tally, False)}. X = θ1 + ε, Y = θ1 + θ2 + "
        f"ε: Var(θ1) is 1 for X and {simulated:.2f} simulated for both, since Y is spent on θ2. The paper restricts "
        "M_XY to range(M_X) (footnote 1), as if θ2 were known."
    )
    return _split(tally, note, {"counterexample": int(broken)})


def _share(tally: Mapping[tuple[bool, bool], int], where: bool) -> str:
    held, broken = (tally.get((where, concluded), 0) for concluded in (True, False))
    return f"{held} of {held + broken}"


def _split(tally: Mapping[tuple[bool, bool], int], note: str, numbers: Mapping[str, int]) -> Measured:
    held = sum(count for (_, concluded), count in tally.items() if concluded)
    return exact(held, sum(tally.values()), "designs and directions", note=note, numbers=numbers)


def theorem_3(conditions: Conditions) -> Measured:
    """Thm 3 on designs where Y covers a blind spot of X; by block and by Schur."""
    checks = [theory.theorem_3(draw(s, rank_x=s % 3), m) for s in _seeds(conditions) for m in ("block", "schur")]
    met = [c for c in checks if c.assumed]
    note = "It speaks of information; along that v more X changes nothing, however many."
    return exact(sum(c.concluded for c in met), len(met), "designs with a blind spot", note=note)


def proposition_1(conditions: Conditions) -> Measured:
    """Prop 1 from the joint likelihood; correlated noise as the control."""
    worlds = [draw(seed, "generic") for seed in _seeds(conditions)]
    checks = [theory.proposition_1(w, 0.0, m) for w in worlds for m in ("block", "schur")]
    off = [theory.proposition_1(w, 0.5).concluded for w in worlds]
    note = f"By block and by Schur. With correlated noise of X and Y (0.5) it adds in {sum(off)} of {len(off)}."
    return exact(sum(c.holds for c in checks), len(checks), "designs", worst=max(c.margin for c in checks), note=note)


THEORY_CLAIMS = (
    Claim("uml.T1", "With unpaired Y the covariance of θ_c is strictly below X's alone, if some B_c has full rank.",
          "Thm 1", "proved", theorem_1, trained=False),
    Claim("uml.T2", "Along v with B_c v ≠ 0 the information strictly grows.",
          "Thm 2", "proved", theorem_2, trained=False),
    Claim("uml.C1", "On a common eigenvector the variance shrinks by a/(a + b).",
          "Cor 1", "proved", corollary_1, trained=False),
    Claim("uml.C2", "Off the range of M_X, where B_c v ≠ 0, the variance becomes finite: well posed.",
          "Thm 2, Cor 2", "proved", off_range, trained=False),
    Claim("uml.C3", "In the range of M_X the variance strictly shrinks along v with C_v ≠ 0, and on eigenvectors.",
          "Thm 2 (App C), Cor 3", "proved", inside_range, trained=False),
    Claim("uml.T3", "If Y covers a blind spot of X, m samples of Y beat m more of X in some direction.",
          "Thm 3", "proved", theorem_3, trained=False),
    Claim("uml.P1", "Fisher information adds on shared parameters.",
          "Prop 1", "proved", proposition_1, trained=False),
    *GAUSSIAN,
)  # fmt: skip
