"""Theorem 1 on exact discrete distributions: every term enumerated, nothing estimated.

A distribution is a tensor p(x1, x2, xo, y) of shape (..., n1, n2, no, ny). The paper writes
I(X_O, X_2, Y | X_1) for two different things: in the proof (Eq 33) it is the *joint* information
I(X_O X_2; Y | X_1), in Eq 12 and Fig 3 it is the *co-information* I(X_O; X_2; Y | X_1). Both are here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ....utils import checks as check

# The axes of a distribution, counted from the end.
X1, X2, XO, Y = -4, -3, -2, -1
UNITS = {"nats": 1.0, "bits": 1.4426950408889634}
# Posteriors that differ by less are a tie: every classifier then takes the first class (ours).
_TIE = 9


@dataclass(frozen=True, eq=False)
class Terms:
    """All quantities of Theorem 1; each a float64 tensor of the shape of the batch.

    Attributes:
        disagreement: α(h1*, h2*) = P(h1*(x1) ≠ h2*(x2)), Def 1 with the 0-1 distance.
        overall: I(X_O; Y). unique: I(X_O; Y | X_1, X_2). common: I(X_O; X_1; X_2; Y), may be negative.
        shared_1, shared_2: I(X_O; X_1; Y | X_2) and I(X_O; X_2; Y | X_1), co-information, may be negative.
        joint_1, joint_2: I(X_O X_1; Y | X_2) and I(X_O X_2; Y | X_1), the proof's reading (Eq 33).
        eq12: overall - common + unique, as printed; equals Eq 11 under the co-information reading.
        eq11_joint: joint_1 + joint_2 + 2 unique, Eq 37 under the proof's own reading.
        errors: Bayes errors (0-1 loss) of h1*, h2*, h12* and h*, (..., 4).
        apart: P(h ≠ h*) for h1*, h2*, h12*, (..., 3).
        constant: smallest c with P(h ≠ h*) ≤ c (L(h) - L(h*))² for the three, as Eq 35 needs it; inf where the
            predictions differ and the errors do not. Assumption 2 holds as Eq 35 uses it where c ≤ 1.
        lipschitz: the same with |L(h) - L(h*)|, as Assumption 2 is printed.
        repaired: c_d · c · ½ · eq11_joint with c_d = 1 (the 0-1 distance is a metric) and ½ from Pinsker's
            inequality: what the proof gives once its constants are kept.
    """

    disagreement: Tensor
    overall: Tensor
    unique: Tensor
    common: Tensor
    shared_1: Tensor
    shared_2: Tensor
    joint_1: Tensor
    joint_2: Tensor
    eq12: Tensor
    eq11_joint: Tensor
    errors: Tensor
    apart: Tensor
    constant: Tensor
    lipschitz: Tensor
    repaired: Tensor

    def holds(self, bound: str = "eq12", tolerance: float = 1e-9) -> Tensor:
        """Where the disagreement is at most ``bound`` + ``tolerance``; "eq12", "eq11_joint" or "repaired"; bool."""
        check.one_of("bound", bound, ("eq12", "eq11_joint", "repaired"))
        limit: Tensor = getattr(self, bound)
        return self.disagreement <= limit + tolerance


def terms(p: Any, unit: str = "nats") -> Terms:
    """Every term of Theorem 1 for one distribution or a batch of them.

    Args:
        p: (..., n1, n2, no, ny), p(x1, x2, xo, y), non-negative with sum 1.
        unit: of informations and bounds, "nats" or "bits"; the paper names none, and the bound depends on it.

    Returns:
        Every term, each of the shape of the batch.

    Raises:
        ValueError: fewer than 4 axes, negative entries, a sum other than 1, an unknown unit.

    Source: cox Theorem 1, Eq 11, 12, 24-38.
    """
    joint = distribution(p)
    scale = UNITS[check.one_of("unit", unit, UNITS)]

    def mutual(a: tuple[int, ...], b: tuple[int, ...], given: tuple[int, ...] = ()) -> Tensor:
        return scale * mutual_information(joint, a, b, given)

    overall, unique = mutual((XO,), (Y,)), mutual((XO,), (Y,), (X1, X2))
    without_1, without_2 = mutual((XO,), (Y,), (X1,)), mutual((XO,), (Y,), (X2,))
    common = overall - without_1 - without_2 + unique
    joint_1, joint_2 = mutual((XO, X1), (Y,), (X2,)), mutual((XO, X2), (Y,), (X1,))
    eq11_joint = joint_1 + joint_2 + 2 * unique
    h1, h2 = bayes(joint, (X1,)), bayes(joint, (X2,))
    best = bayes(joint, (X1, X2, XO))
    three = [h1, h2, bayes(joint, (X1, X2))]
    errors = torch.stack([_error(joint, h) for h in [*three, best]], -1)
    apart = torch.stack([_differ(joint, h, best) for h in three], -1)
    excess = (errors[..., :3] - errors[..., 3:]).clamp(min=0)
    constant, lipschitz = (_ratio(apart, excess**power).amax(-1) for power in (2, 1))
    return Terms(
        disagreement=_differ(joint, h1, h2), overall=overall, unique=unique, common=common,
        shared_1=without_2 - unique, shared_2=without_1 - unique, joint_1=joint_1, joint_2=joint_2,
        eq12=overall - common + unique, eq11_joint=eq11_joint, errors=errors, apart=apart,
        constant=constant, lipschitz=lipschitz,
        # 0 times an infinite constant would be NaN; no constant helps there, so the bound says nothing.
        repaired=torch.where(constant.isinf(), torch.inf, 0.5 * constant * eq11_joint / scale),
    )  # fmt: skip


def distribution(p: Any) -> Tensor:
    """``p`` as a float64 tensor, checked to be a distribution over (x1, x2, xo, y)."""
    joint = check.finite("p", check.as_tensor("p", p, torch.float64))
    if joint.ndim < 4 or 0 in joint.shape:
        raise ValueError(f"p must have shape (..., n1, n2, no, ny), p(x1, x2, xo, y), got {tuple(joint.shape)}.")
    total = joint.sum((X1, X2, XO, Y))
    if bool((joint < 0).any()) or bool(((total - 1).abs() > 1e-6).any()):
        raise ValueError(f"p must be non-negative and sum to 1, got sums from {total.min():.6g} to {total.max():.6g}.")
    return joint


def entropy(p: Tensor, axes: tuple[int, ...]) -> Tensor:
    """H of the marginal on ``axes`` (of X1, X2, XO, Y), in nats."""
    rest = tuple(a for a in (X1, X2, XO, Y) if a not in axes)
    marginal = p.sum(rest, keepdim=True) if rest else p
    return torch.special.entr(marginal).sum((X1, X2, XO, Y))


def mutual_information(p: Tensor, a: tuple[int, ...], b: tuple[int, ...], given: tuple[int, ...] = ()) -> Tensor:
    """I(A; B | given) = H(A, G) + H(B, G) - H(A, B, G) - H(G), in nats, for sets of axes."""
    found = entropy(p, a + given) + entropy(p, b + given) - entropy(p, a + b + given)
    return found - entropy(p, given) if given else found


def bayes(p: Tensor, seen: tuple[int, ...]) -> Tensor:
    """The Bayes-optimal class given the axes ``seen``: (..., n1, n2, no), broadcast over what it does not see.

    A tie goes to the first class, so that classifiers that know equally much decide alike.
    """
    rest = tuple(a for a in (X1, X2, XO) if a not in seen)
    joint = p.sum(rest, keepdim=True) if rest else p
    posterior = joint / joint.sum(Y, keepdim=True).clamp(min=1e-300)
    return posterior.round(decimals=_TIE).argmax(Y).expand(p.shape[:-1])


def _error(p: Tensor, h: Tensor) -> Tensor:
    right = p.gather(Y, h.unsqueeze(Y)).squeeze(Y)
    return (1 - right.sum((-3, -2, -1))).clamp(min=0)


def _differ(p: Tensor, h: Tensor, g: Tensor) -> Tensor:
    return (p.sum(Y) * (h != g)).sum((-3, -2, -1))


def _ratio(apart: Tensor, excess: Tensor) -> Tensor:
    # Round-off in an excess of exactly 0 would turn "no constant" into a huge one.
    none = excess < 1e-13
    return torch.where(none, torch.where(apart > 1e-13, torch.inf, 0.0), apart / excess.clamp(min=1e-300))
