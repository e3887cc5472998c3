"""The matrices that curvature looks at, as operators: the Hessian, the Gauss-Newton matrix, the empirical Fisher."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ...losses import Loss
from ...utils import checks as check
from .gauss_newton import GGN, EmpiricalFisher
from .operator import Hessian, Operator

# What can be looked at of a loss, by the word of ``of=``.
MATRICES: dict[str, type[Operator]] = {"hessian": Hessian, "ggn": GGN, "fisher": EmpiricalFisher}


def hessian(
    loss: Loss,
    params: str | Sequence[str] | None = None,
    *,
    rows: int | None = None,
    dtype: torch.dtype | None = None,
    block_diagonal: bool = False,
) -> Hessian:
    """The Hessian ∇²L(θ), or the diagonal block of some parameters, as a linear operator.

    Args:
        loss: any loss; it must be twice differentiable and deterministic.
        params: a block of ``loss.blocks``, a modality (its encoder), a parameter name, several of these; None for all.
        rows: samples per chunk of a loss over data; chosen to fit the cache when not given.
        dtype: of the products; the loss's own when not given, at least float32, which is enough for eigenvalues
            (1e-7 of the largest against dense float64, FIELD_NOTES).
        block_diagonal: take entries between two blocks of ``loss.blocks`` as 0: Hv is then Σ over blocks b of
            ∇_b(∇_b L · v_b), from one graph.

    Returns:
        :class:`Hessian` with ``.matvec``, ``.dense()``, ``.as_dict``, ``.as_vector``, ``.size``.

    Raises:
        ValueError: a name that does not exist, a loss that is NaN, infinite or stochastic at θ.
        TypeError: ``loss`` is not a Loss.
    """
    return Hessian(loss, params, rows, dtype, block_diagonal)


def ggn(
    loss: Loss,
    params: str | Sequence[str] | None = None,
    *,
    rows: int | None = None,
    dtype: torch.dtype | None = None,
    block_diagonal: bool = False,
) -> GGN:
    """The generalised Gauss-Newton matrix G = Jᵀ (∇²_z ℓ) J of a net z(θ) with Jacobian J (Schraudolph 2002).

    The Hessian is G + Σₖ (∂ℓ/∂zₖ) ∇²zₖ; G leaves the curvature of the net out. It is positive semi-definite where the
    criterion ℓ is convex in z; for cross-entropy and squared error it is the Fisher information (Martens 2020).

    Args:
        loss: of a module, with outputs and a criterion (``xl.loss_on``, ``xl.Loss.from_module``).
        params, rows, dtype, block_diagonal: as in :func:`hessian`.

    Returns:
        :class:`GGN`, with what :class:`Hessian` has.

    Raises:
        ValueError: as :func:`hessian`; a loss that is a function of θ alone, or is computed inside the module.
        TypeError: ``loss`` is not a Loss.

    Example:
        >>> import torch
        >>> import xmodal_lab as xl
        >>> net, batch = torch.nn.Linear(2, 1, bias=False), (torch.eye(2), torch.zeros(2, 1))
        >>> loss = xl.Loss.from_module(net, batch, torch.nn.functional.mse_loss)
        >>> xl.curvature.ggn(loss).dense()  # 2 XᵀX / N
        tensor([[1., 0.],
                [0., 1.]], dtype=torch.float64)
    """
    return GGN(loss, params, rows, dtype, block_diagonal)


def fisher(
    loss: Loss,
    params: str | Sequence[str] | None = None,
    *,
    rows: int | None = None,
    dtype: torch.dtype | None = None,
    block_diagonal: bool = False,
) -> EmpiricalFisher:
    """The empirical Fisher F = (1/N) Σₙ gₙ gₙᵀ, gₙ = ∇ℓₙ(θ): the uncentred second moment of the rows' gradients.

    Args:
        loss: of a module whose rows know nothing of each other, with a criterion that is a mean over them.
        params, rows, dtype, block_diagonal: as in :func:`hessian`.

    Returns:
        :class:`EmpiricalFisher`, with what :class:`Hessian` has.

    Raises:
        ValueError: as :func:`ggn`; a loss that is no mean over rows, outputs without one entry for each row.
        TypeError: ``loss`` is not a Loss.

    Example:
        >>> import torch
        >>> import xmodal_lab as xl
        >>> net, batch = torch.nn.Linear(1, 1, bias=False), (torch.ones(2, 1), torch.zeros(2, 1))
        >>> torch.nn.init.ones_(net.weight).shape
        torch.Size([1, 1])
        >>> xl.curvature.fisher(xl.Loss.from_module(net, batch, torch.nn.functional.mse_loss)).dense()  # each g is 2
        tensor([[4.]], dtype=torch.float64)
    """
    return EmpiricalFisher(loss, params, rows, dtype, block_diagonal)


def operator_of(
    loss: Loss | Operator, params: str | Sequence[str] | None, dtype: torch.dtype | None, of: str | None
) -> Operator:
    """``loss`` itself, if it is an operator; else what ``of`` names, of these ``params`` and in this ``dtype``."""
    if not isinstance(loss, Operator):
        return MATRICES[check.one_of("matrix (of=)", "hessian" if of is None else of, MATRICES)](
            loss, params, dtype=dtype
        )
    if params is not None or dtype is not None or of is not None:
        raise ValueError(
            f"{loss.called} has its params and dtype already, and is what it is; give them to curvature.hessian(…), "
            "ggn(…) or fisher(…), or hand over the loss."
        )
    return loss
