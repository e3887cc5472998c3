"""uml's theorems as checks that run: is the premise met, is the conclusion true, and by how much.

Each takes the Fisher information of a world with known designs (``xl.information.fisher``) and looks
at it with ``method`` "block" (θ_x and θ_y known, or Fisher-orthogonal, as App C.2 assumes) or "schur"
(unknown). M_X and M_Y below are the informations on θ_c.

A variance is that of the best unbiased estimator, vᵀM⁺v for v in the range of M and infinite off it, for
X alone and for both together alike. The paper says so for X alone; for both together it takes vᵀM⁺v
everywhere (Thm 2, case 1), or the inverse of M restricted to the range of M_X (case 2, footnote 1).
These are smaller than what any unbiased estimator reaches, and :func:`theorem_2` and the corollaries
find designs where the difference decides.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ....instruments.information import Fisher
from ....instruments.information.loewner import in_range, order, projector, pseudo_inverse, rank
from ....utils import checks as check
from ....utils.factors import eigh
from ....utils.statistics import printed

# A relative change of a variance below this is rounding (ours).
ROUNDING = 1e-9
PARTS = ("information", "off range", "inside", "some direction")


@dataclass(frozen=True)
class Check:
    """One theorem on one design.

    Attributes:
        name: of the theorem, and its part.
        assumed: whether its premise is met.
        concluded: whether its conclusion is true.
        margin: by how much; below or at 0 when the conclusion is not true.
        why: the numbers in a sentence.
    """

    name: str
    assumed: bool
    concluded: bool
    margin: float
    why: str

    @property
    def holds(self) -> bool:
        """Whether the theorem is true of this design: no premise, or its conclusion."""
        return self.concluded or not self.assumed


def theorem_1(world: Fisher, method: str = "block") -> Check:
    """Thm 1: if some B_c,j has full column rank, M_X ≺ M_X + M_Y and Var(θ_c) of both ≺ that of X alone."""
    m_x, both = world.information("x", method), world.information("x+y", method)
    designs = world.channels["y"].shared if world.channels["y"].count else torch.zeros(1, 1, world.shared)
    full = bool((torch.linalg.matrix_rank(designs) == world.shared).any())
    grown = order(m_x, both, world.rtol)
    shrunk = least_reduction(m_x, both, world.rtol)
    concluded = grown.relation == "a < b" and shrunk > 0
    why = f"smallest eigenvalue of M_Y {grown.smallest:.3g}, least relative reduction of Var {shrunk:.3g}"
    return Check("Thm 1", full, concluded, min(grown.smallest, shrunk), why)


def theorem_2(world: Fisher, v: object, part: str = "information", method: str = "block") -> Check:
    """Thm 2: what follows if some B_c,j v ≠ 0.

    "information"     vᵀ(M_X + M_Y)v > vᵀM_X v;
    "off range"       Var along v is strictly reduced, if v is not in the range of M_X;
    "inside"          Var along v is strictly reduced, if v is in the range of M_X and C_v ≠ 0 (App C, case 2):
                      C_v = P M_Y P M_X⁺ v with P the projector onto that range;
    "some direction"  Var is strictly reduced along some u in the range of M_X (for v in it).

    The last three have counterexamples: X + Y must itself see v, and Y may spend all it knows on what
    X does not see (X = θ_1 + ε, Y = θ_1 + θ_2 + ε: the variance of θ_1 does not move).
    """
    check.one_of("part", part, PARTS)
    direction = world.direction(v)
    m_x, both = world.information("x", method), world.information("x+y", method)
    sees = bool((world.channels["y"].stacked()[0] @ direction).norm() > world.rtol**0.5 * direction.norm())
    inside = in_range(m_x, direction, world.rtol)
    if part == "information":
        more = float(direction @ (both - m_x) @ direction)
        edge = world.rtol * float(direction @ both @ direction)
        return Check("Thm 2", sees, more > edge, more, f"vᵀM_Y v = {more:.3g}")
    if part == "off range":
        alone, joint = (world.variance(direction, data, method) for data in ("x", "x+y"))
        margin = alone - joint if joint < alone else 0.0
        why = f"Var {alone:.3g} → {joint:.3g}"
        return Check("Thm 2, v off range(M_X)", sees and not inside, joint < alone, margin, why)
    if part == "inside":
        bends = inside and condition(world, direction, method) > world.rtol**0.5
        alone, joint = (world.variance(direction, data, method) for data in ("x", "x+y"))
        left = 1 - joint / alone if bends else math.nan
        name = "Thm 2, v in range(M_X) with C_v ≠ 0"
        return Check(name, sees and bends, left > ROUNDING, left, f"Var {alone:.3g} → {joint:.3g}")
    gain = largest_reduction(m_x, both, world.rtol)
    return Check(
        "Thm 2, some u in range(M_X)", sees and inside, gain > 0, gain, f"largest relative reduction {gain:.3g}"
    )


def condition(world: Fisher, v: object, method: str = "block") -> float:
    """‖C_v‖ of App C, case 2, relative to ‖v‖ and to the largest entries of M_Y M_X⁺: 0 where the proof says nothing.

    C_v = P M_Y P M_X⁺ v, with P the projector onto the range of M_X.
    """
    direction = world.direction(v)
    m_x, m_y = (world.information(data, method) for data in ("x", "y"))
    inverse, onto = pseudo_inverse(m_x, world.rtol), projector(m_x, world.rtol)
    size = float(m_y.norm() * inverse.norm() * direction.norm())
    return float((onto @ m_y @ onto @ inverse @ direction).norm()) / size if size else 0.0


def corollary_1(world: Fisher, v: object, method: str = "block") -> Check:
    """Cor 1: on a common eigenvector with a = vᵀM_X v > 0 and b = vᵀM_Y v > 0, Var shrinks by a/(a + b)."""
    direction, m_x, m_y, alone, joint = _along(world, v, method)
    a, b = (float(direction @ m @ direction) for m in (m_x, m_y))
    assumed = all(_eigenvector(m, direction) and _seen(m, direction, world.rtol) for m in (m_x, m_y))
    factor, claimed = joint / alone if assumed else math.nan, a / (a + b) if assumed else math.nan
    same = math.isclose(factor, claimed, rel_tol=1e-6)
    return Check("Cor 1", assumed, same, abs(factor - claimed), f"shrinks by {factor:.4g}, a/(a + b) is {claimed:.4g}")


def corollary_2(world: Fisher, v: object, method: str = "block") -> Check:
    """Cor 2: if vᵀM_X v = 0 and vᵀM_Y v > 0, Var along v is infinite for X and finite for both.

    It is finite if both together see v. Counterexample: X sees nothing, Y = θ_1 + ε, v = (1, 1).
    """
    direction, m_x, m_y, alone, joint = _along(world, v, method)
    assumed = not _seen(m_x, direction, world.rtol) and _seen(m_y, direction, world.rtol)
    posed = math.isinf(alone) and math.isfinite(joint)
    return Check("Cor 2", assumed, posed, 1 / joint, f"Var {alone:.3g} → {joint:.3g}")


def corollary_3(world: Fisher, v: object, method: str = "block") -> Check:
    """Cor 3: on an eigenvector of M_X with λ_X > 0 and vᵀM_Y v > 0, Var along v is strictly reduced from ‖v‖²/λ_X.

    True if M_X sees everything. Counterexample otherwise: that of :func:`theorem_2`.
    """
    direction, m_x, m_y, alone, joint = _along(world, v, method)
    assumed = _eigenvector(m_x, direction) and all(_seen(m, direction, world.rtol) for m in (m_x, m_y))
    gain = 1 - joint / alone if assumed else math.nan
    return Check("Cor 3", assumed, gain > ROUNDING, gain, f"Var {alone:.3g} → {joint:.3g}")


def theorem_3(world: Fisher, method: str = "block") -> Check:
    """Thm 3: if range(M_Y) ⊄ range(M_X), some v has vᵀM_Y v > vᵀM_X v: m of Y beat m more of X along it.

    As printed M_X and M_Y count m samples of each; with other numbers it is true all the same. The v
    comes from the proof: it lies where X is blind.
    """
    m_x, m_y = world.information("x", method), world.information("y", method)
    blind = torch.eye(world.shared, dtype=torch.float64) - projector(m_x, world.rtol)
    v = eigh(blind @ m_y @ blind)[1][:, -1]
    edge = world.rtol * float(torch.linalg.eigvalsh(m_x + m_y)[-1])
    outside = rank(m_x + m_y, world.rtol) > rank(m_x, world.rtol)
    more = float(v @ m_y @ v - v @ m_x @ v)
    return Check(
        "Thm 3", outside, more > edge, more, f"vᵀM_Y v {float(v @ m_y @ v):.3g}, vᵀM_X v {float(v @ m_x @ v):.3g}"
    )


def proposition_1(world: Fisher, correlation: float = 0.0, method: str = "block") -> Check:
    """Prop 1 and Eq. 6: information of both = M_X + M_Y, when X and Y are independent given the parameters.

    Seen from the joint likelihood of the stacked data, Jᵀ Σ⁻¹ J, without using that blocks add. The noise of the
    first entry of X and of Y may be correlated; then they are not independent, and it does not add.
    """
    if not -1 < check.real("correlation", correlation) < 1:
        raise ValueError(f"correlation must lie strictly between -1 and 1, got {correlation!r}.")
    (shared_x, own_x), (shared_y, own_y) = (world.channels[name].stacked() for name in ("x", "y"))
    noise = torch.eye(len(shared_x) + len(shared_y), dtype=torch.float64)
    noise[0, len(shared_x)] = noise[len(shared_x), 0] = correlation
    shared = torch.cat([shared_x, shared_y])
    weighted = torch.linalg.solve(noise, shared)
    joint = shared.T @ weighted
    if method == "schur":
        own = torch.block_diag(own_x, own_y)
        cross = own.T @ weighted
        joint = joint - cross.T @ pseudo_inverse(own.T @ torch.linalg.solve(noise, own), world.rtol) @ cross
    total = world.information("x", method) + world.information("y", method)
    off = float((joint - total).abs().max() / total.abs().max())
    return Check("Prop 1", correlation == 0, off < 1e-8, off, f"largest relative difference {printed(off)}")


def least_reduction(before: Tensor, after: Tensor, rtol: float = 1e-10) -> float:
    """By how much Var shrinks, relative to before, where it shrinks least; 0: somewhere not at all."""
    if rank(after, rtol) < len(after):
        return 0.0  # infinite before and after
    return _reductions(before, after, rtol)[0] if rank(before, rtol) else 1.0


def largest_reduction(before: Tensor, after: Tensor, rtol: float = 1e-10) -> float:
    """By how much Var shrinks, relative to before, along the best direction in the range of ``before``; 0: nowhere."""
    return _reductions(before, after, rtol)[-1] if rank(before, rtol) else 0.0


def _reductions(before: Tensor, after: Tensor, rtol: float) -> list[float]:
    """Eigenvalues of 1 − Var_after / Var_before on the range of ``before``, from below; rounding is 0."""
    values, vectors = torch.linalg.eigh(before)
    seen = values > rtol * float(values[-1])
    root = vectors[:, seen] * values[seen].sqrt()
    left = torch.linalg.eigvalsh(root.T @ pseudo_inverse(after, rtol) @ root)
    return [0.0 if abs(1 - x) < ROUNDING else 1 - x for x in sorted(left.tolist(), reverse=True)]


def _along(world: Fisher, v: object, method: str) -> tuple[Tensor, Tensor, Tensor, float, float]:
    """The direction, M_X, M_Y, and the variance along it by X and by both."""
    m_x, m_y = (world.information(data, method) for data in ("x", "y"))
    alone, joint = (world.variance(v, data, method) for data in ("x", "x+y"))
    return world.direction(v), m_x, m_y, alone, joint


def _seen(matrix: Tensor, v: Tensor, rtol: float) -> bool:
    """Whether vᵀMv is above 0, beyond rounding."""
    return float(v @ matrix @ v) > rtol * float(matrix.norm() * (v @ v))


def _eigenvector(matrix: Tensor, v: Tensor) -> bool:
    image = matrix @ v
    return bool((image - (v @ image) / (v @ v) * v).norm() <= 1e-8 * matrix.norm() * v.norm())
