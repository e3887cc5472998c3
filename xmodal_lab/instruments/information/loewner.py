"""Symmetric positive semidefinite matrices: ranges, inverses where there is one, Loewner's order.

All in float64. An eigenvalue below ``rtol`` times the largest one counts as 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...utils import checks as check
from ...utils.factors import eigh

# Below this share of the largest eigenvalue an eigenvalue is rounding (ours).
RTOL = 1e-10


@dataclass(frozen=True)
class Order:
    """How two symmetric matrices a and b compare.

    Attributes:
        relation: "a < b" (b − a positive definite), "a <= b" (positive semidefinite, not 0), "a = b",
            "a > b", "a >= b", or "incomparable".
        smallest, largest: eigenvalues of b − a.
        direction: (d,) the unit vector along which b − a is smallest.
    """

    relation: str
    smallest: float
    largest: float
    direction: Tensor


def order(a: object, b: object, rtol: float = RTOL) -> Order:
    """Compare two symmetric matrices in Loewner's order: a ≺ b if vᵀ(b − a)v > 0 for every v ≠ 0.

    Args:
        a, b: (d, d), symmetric.
        rtol: differences below this share of the larger matrix's spectral norm count as 0 (ours).

    Returns:
        The relation, with the eigenvalues of b - a that decide it and the direction of the smallest.

    Raises:
        ValueError, TypeError: no symmetric matrices of one size.
    """
    first, second = symmetric("a", a), symmetric("b", b)
    if first.shape != second.shape:
        raise ValueError(f"a and b must have one shape, got {tuple(first.shape)} and {tuple(second.shape)}.")
    values, vectors = eigh(second - first)
    low, high = float(values[0]), float(values[-1])
    edge = check.non_negative("rtol", rtol) * max(_norm(first), _norm(second))
    if max(abs(low), abs(high)) <= edge:
        relation = "a = b"
    elif low >= -edge:
        relation = "a < b" if low > edge else "a <= b"
    elif high <= edge:
        relation = "a > b" if high < -edge else "a >= b"
    else:
        relation = "incomparable"
    return Order(relation, low, high, vectors[:, 0])


def schur(matrix: object, keep: int, rtol: float = RTOL) -> Tensor:
    """Information on the first ``keep`` parameters when the others are unknown too.

        I_cc − I_co I_oo⁺ I_oc

    Args:
        matrix: (d, d) Fisher information, symmetric positive semidefinite.
        keep: how many parameters stand first.
        rtol: eigenvalues of I_oo below this share of its largest count as 0 (ours).

    Returns:
        (keep, keep), with what is only rounding set to 0.

    Raises:
        ValueError, TypeError: a matrix that is not symmetric; ``keep`` outside 1..d.
    """
    whole, rtol = symmetric("matrix", matrix), check.non_negative("rtol", rtol)
    if not 1 <= check.integer("keep", keep, at_least=1) <= len(whole):
        raise ValueError(f"keep must be at most {len(whole)}, the number of parameters, got {keep}.")
    block, cross, rest = whole[:keep, :keep], whole[:keep, keep:], whole[keep:, keep:]
    left = block - cross @ pseudo_inverse(rest, rtol) @ cross.T if len(rest) else block
    return without_rounding(left, rtol * _norm(block))


def pseudo_inverse(matrix: Tensor, rtol: float = RTOL) -> Tensor:
    """Moore-Penrose inverse of a symmetric positive semidefinite matrix."""
    if not len(matrix):
        return matrix
    values, vectors = torch.linalg.eigh(matrix)
    seen = values > rtol * float(values[-1].clamp(min=0))
    return (vectors[:, seen] / values[seen]) @ vectors[:, seen].T


def rank(matrix: Tensor, rtol: float = RTOL) -> int:
    """Rank of a symmetric positive semidefinite matrix."""
    values = torch.linalg.eigvalsh(matrix)
    return int((values > rtol * float(values[-1].clamp(min=0))).sum())


def in_range(matrix: Tensor, v: Tensor, rtol: float = RTOL) -> bool:
    """Whether v lies in the range of a symmetric matrix; a part of v below √rtol counts as 0."""
    return bool((v - projector(matrix, rtol) @ v).norm() <= rtol**0.5 * v.norm())


def projector(matrix: Tensor, rtol: float = RTOL) -> Tensor:
    """Orthogonal projector onto the range of a symmetric positive semidefinite matrix."""
    values, vectors = torch.linalg.eigh(matrix)
    seen = vectors[:, values > rtol * float(values[-1].clamp(min=0))]
    return seen @ seen.T


def variance(information: Tensor, v: Tensor, rtol: float = RTOL) -> float:
    """Least variance of an unbiased estimator of vᵀθ: vᵀ I⁺ v, infinite for v off the range of I."""
    if not in_range(information, v, rtol):
        return float("inf")
    return float(v @ pseudo_inverse(information, rtol) @ v)


def symmetric(what: str, matrix: object) -> Tensor:
    """A square symmetric matrix as float64, or an error that says what came."""
    found = check.as_tensor(what, matrix, torch.float64).detach().cpu()
    if found.dim() != 2 or found.shape[0] != found.shape[1] or not len(found):
        raise ValueError(f"{what} must be a square matrix (d, d), got shape {tuple(found.shape)}.")
    check.finite(what, found)
    if float((found - found.T).abs().max()) > 1e-6 * float(found.abs().max().clamp(min=1e-300)):
        raise ValueError(f"{what} must be symmetric; its largest asymmetry is {float((found - found.T).abs().max())}.")
    return (found + found.T) / 2


def without_rounding(matrix: Tensor, edge: float) -> Tensor:
    """The symmetric matrix with its eigenvalues below ``edge`` set to 0."""
    values, vectors = torch.linalg.eigh((matrix + matrix.T) / 2)
    if bool((values > edge).all()):
        return (matrix + matrix.T) / 2
    kept = values > edge
    return (vectors[:, kept] * values[kept]) @ vectors[:, kept].T


def _norm(matrix: Tensor) -> float:
    return float(torch.linalg.eigvalsh(matrix).abs().max())
