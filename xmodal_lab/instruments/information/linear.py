"""Fisher information of linear-Gaussian worlds whose modalities share parameters, and exchange rates.

    X_i = A_c θ_c + A_x θ_x + ε,  ε ~ N(0, σ_x² I)       Y_j = B_c θ_c + B_y θ_y + ε,  ε ~ N(0, σ_y² I)

(uml, Eq. 1 and 2; the designs A and B are known, θ is one fixed vector.) Unpaired samples are
independent, so their informations add. What they say about θ_c can be read in three ways:

    "printed"   Σ A_cᵀ A_c              the paper's block (App C.2); it drops the noise's 1/σ²
    "block"     Σ A_cᵀ A_c / σ²         the θ_c block: θ_x and θ_y are known
    "schur"     I_cc − I_co I_oo⁺ I_oc  θ_x and θ_y are unknown and estimated too: what the data really say

    f = fisher({"A_c": …, "A_x": …, "B_c": …, "B_y": …}, sigma_x=0.3, n_x=50, n_y=50)
    f.variance(v, "x+y")                the least variance of an unbiased estimator of vᵀθ_c
    f.rate(v)                           how many Y are worth one more X, for that variance
    f.report()                          block beside Schur

The last two agree when θ_c is Fisher-orthogonal to the rest, as the paper assumes. Accuracies
over shots of two modalities have an exchange rate of their own: :func:`exchange_rate`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...utils import checks as check
from . import loewner
from .loewner import RTOL
from .trade import Help

if TYPE_CHECKING:
    import pandas as pd

METHODS = ("schur", "block", "printed")


@dataclass(frozen=True, eq=False)
class Channel:
    """One modality: n samples s_i = shared_i θ_c + own_i θ_own + ε, ε ~ N(0, sigma² I).

    Attributes:
        shared: (m, d_c), one design for all samples, or (n, m, d_c), one for each.
        own: (m, d_own) or (n, m, d_own); None when there is nothing of its own.
        sigma: standard deviation of the noise.
        samples: n; may be 0 with one design for all, and is read off otherwise.

    Raises:
        ValueError, TypeError: shapes that disagree, NaN, sigma not above 0, a number of samples below 0.
    """

    shared: Tensor
    own: Tensor | None = None
    sigma: float = 1.0
    samples: int | None = None

    def __post_init__(self) -> None:
        shared = _given("the shared design", self.shared)
        if shared.dim() not in (2, 3) or 0 in shared.shape:
            raise ValueError(f"a design is (m, d_c) or (n, m, d_c), none of them 0; got {tuple(shared.shape)}.")
        own = self.own
        if own is not None:
            own = _given("the own design", own)
        if own is not None and own.shape[:-1] != shared.shape[:-1]:
            raise ValueError(
                f"the designs of one modality differ in their last dimension only, got shared {tuple(shared.shape)} "
                f"and own {tuple(own.shape)}."
            )
        check.positive("sigma", self.sigma)
        each = len(shared) if shared.dim() == 3 else None
        samples = each if self.samples is None else check.integer("samples", self.samples, at_least=0)
        if each is not None and samples != each:
            raise ValueError(f"{each} designs make {each} samples, got samples={samples}; leave it out.")
        for name, value in (("shared", shared), ("own", own), ("samples", 1 if samples is None else samples)):
            object.__setattr__(self, name, value)

    @property
    def count(self) -> int:
        """n, the number of samples."""
        return 1 if self.samples is None else self.samples

    @property
    def one_design(self) -> bool:
        """Whether all samples have the same design."""
        return self.shared.dim() == 2

    def stacked(self, *, noise: bool = True) -> tuple[Tensor, Tensor]:
        """The designs below each other, (rows, d_c) and (rows, d_own); divided by σ with ``noise``.

        n samples of one design count as their mean, a sufficient statistic: one design times √n.
        """
        scale = (1 / self.sigma if noise else 1.0) * (math.sqrt(self.count) if self.one_design else 1.0)
        own = self.shared.new_zeros(*self.shared.shape[:-1], 0) if self.own is None else self.own
        return scale * self.shared.flatten(0, -2), scale * own.flatten(0, -2)

    def per_sample(self, method: str, rtol: float = RTOL) -> Tensor:
        """(d_c, d_c) information on θ_c of one sample; the mean over samples whose designs differ.

        ``method`` as of :meth:`Fisher.information`; eigenvalues below ``rtol`` of the largest count as 0.
        """
        once = Channel(self.shared, self.own, self.sigma, 1 if self.one_design else None)
        return _on_shared(once, method, rtol) / once.count


Design = Mapping[str, object]


def fisher(
    design: Design,
    *,
    sigma_x: float = 1.0,
    sigma_y: float = 1.0,
    n_x: int | None = None,
    n_y: int | None = None,
    rtol: float = RTOL,
) -> Fisher:
    """Fisher information of a linear-Gaussian world (uml, Sec 3.1 and App C.2).

    Args:
        design: the paper's "A_c", "A_x", "B_c", "B_y", each (m, d) for one design or (N, m, d) for one per sample;
            "A_x" and "B_y" may be left out, and "a" (d_c,) attenuates θ_c in X (A_c diag(a)), as in
            ``xl.load("gaussian").provenance["design"]``. Or name -> :class:`Channel`, for any number of modalities.
        sigma_x, sigma_y: standard deviations of the noise (1: ours). Channels have their own.
        n_x, n_y: numbers of samples of one design; 1 when left out.
        rtol: eigenvalues below this share of the largest count as 0 (ours).

    Returns:
        The information, by modality and together.

    Raises:
        ValueError, TypeError: a matrix that is missing or unknown, shapes that disagree, NaN, a sigma not above 0.

    Example:
        >>> import torch
        >>> import xmodal_lab as xl
        >>> shared = torch.eye(2)  # both modalities see both parameters
        >>> world = xl.information.fisher({"A_c": shared, "B_c": shared}, sigma_x=1.0, sigma_y=2.0, n_x=10, n_y=40)
        >>> world.variance([1.0, 0.0]), world.rate([1.0, 0.0])  # 1 / (10 + 40 / 4); one x is worth 4 y
        (0.04999999999999999, 4.0)
    """
    if not isinstance(design, Mapping) or not design:
        raise TypeError(f"a design maps names to matrices or Channels, got {type(design).__name__}; see fisher's help.")
    check.positive("rtol", rtol)
    if all(isinstance(part, Channel) for part in design.values()):
        if (sigma_x, sigma_y, n_x, n_y) != (1.0, 1.0, None, None):
            raise ValueError("Channels carry their own sigma and samples; leave out sigma_x, sigma_y, n_x and n_y.")
        return Fisher({str(name): part for name, part in design.items() if isinstance(part, Channel)}, rtol)
    known = ("A_c", "A_x", "B_c", "B_y", "a")
    for name in design:
        check.one_of("matrix of a design", name, known)
    if missing := [name for name in ("A_c", "B_c") if design.get(name) is None]:
        raise ValueError(f"a design needs 'A_c' and 'B_c', it lacks {', '.join(missing)}.")
    seen = _given("A_c", design["A_c"])
    if design.get("a") is not None:
        seen = seen * _given("a", design["a"])
    x = Channel(seen, design.get("A_x"), sigma_x, n_x)  # type: ignore[arg-type]
    y = Channel(design["B_c"], design.get("B_y"), sigma_y, n_y)  # type: ignore[arg-type]
    return Fisher({"x": x, "y": y}, rtol)


@dataclass(frozen=True, eq=False)
class Fisher:
    """Fisher information of modalities that share θ_c. Everything takes ``data``: "x", "y", "x+y"; None for all.

    ``method``: "schur", "block" or "printed", see :meth:`information`. ``v``: (d_c,) a direction of θ_c.

    Attributes:
        channels: name -> :class:`Channel`.
        rtol: eigenvalues below this share of the largest count as 0.

    Raises:
        ValueError: no channel, or channels with different d_c.
    """

    channels: Mapping[str, Channel]
    rtol: float = RTOL
    _memory: dict[tuple[str, ...], Tensor] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        check.positive("rtol", self.rtol)
        if not isinstance(self.channels, Mapping) or not self.channels:
            raise TypeError(f"channels must map names to Channels, got {type(self.channels).__name__}.")
        for name, channel in self.channels.items():
            check.instance(f"channels[{name!r}]", channel, Channel)
        sizes = {name: channel.shared.shape[-1] for name, channel in self.channels.items()}
        if len(set(sizes.values())) != 1:
            raise ValueError(f"all modalities share the same θ_c, but their designs have d_c = {sizes}.")

    @property
    def shared(self) -> int:
        """d_c, the number of shared parameters."""
        return next(iter(self.channels.values())).shared.shape[-1]

    def matrix(self, data: str | None = None) -> Tensor:
        """The whole information over θ = [θ_c, own parameters of each modality], (d, d) (App C.2, with 1/σ²)."""
        asked = self._names(data)
        rows = [c.stacked() for c in self.channels.values()]
        ends = torch.tensor([self.shared, *(own.shape[1] for _, own in rows)]).cumsum(0).tolist()
        whole = torch.zeros(ends[-1], ends[-1], dtype=torch.float64)
        for name, (shared, own), start, end in zip(self.channels, rows, ends, ends[1:], strict=False):
            if name in asked:
                both = torch.cat([shared, own], 1)
                at = torch.tensor([*range(self.shared), *range(start, end)])
                whole[at[:, None], at] += both.T @ both
        return whole

    def information(self, data: str | None = None, method: str = "schur") -> Tensor:
        """Information on θ_c, (d_c, d_c): "schur", "block" or "printed"; that of several modalities is the sum.

        The sum holds for "schur" too, since no modality knows the own parameters of another.

        Raises:
            ValueError: an unknown modality or method.
        """
        check.one_of("method", method, METHODS)
        total = torch.zeros(self.shared, self.shared, dtype=torch.float64)
        for name in self._names(data):
            if (name, method) not in self._memory:
                self._memory[name, method] = _on_shared(self.channels[name], method, self.rtol)
            total = total + self._memory[name, method]
        return total

    def variance(self, v: object, data: str | None = None, method: str = "schur") -> float:
        """Least variance of an unbiased estimator of vᵀθ_c: vᵀ I⁺ v, infinite for v off the range of I (Thm 2).

        Raises:
            ValueError: a v of another size, 0 or NaN.
        """
        return loewner.variance(self.information(data, method), self.direction(v), self.rtol)

    def rate(self, v: object, one: str = "x", of: str = "y", method: str = "schur") -> float:
        """The exact local exchange rate: how many samples of ``of`` are worth one more of ``one``, along v.

            ∂Var/∂n_one / ∂Var/∂n_of = (wᵀ M_one w) / (wᵀ M_of w),   w = I⁺ v,

        with M the information of one sample and I that of all data. Only when v is a common
        eigenvector is it vᵀ M_one v / vᵀ M_of v, the ratio of informations along v (cf. Cor 1).

        Returns:
            The rate; infinite when ``of`` does not help, NaN when neither does or Var is infinite. What is less than
            1e-12 of Var counts as rounding (ours: squares of single precision).
        """
        first, second = self._helps(v, one, of, method)
        return math.nan if first is None or second is None else first.rate(second)

    def trade(self, v: object, n: float = 1.0, one: str = "x", of: str = "y", method: str = "schur") -> float:
        """How many samples of ``of`` lower Var(vᵀθ_c) as much as ``n`` more of ``one`` would: the rate of a whole step.

        Returns:
            A real number; infinite when no number of them does, NaN when Var is infinite or does not move.

        Raises:
            ValueError: n not above 0.
        """
        first, second = self._helps(v, one, of, method)
        n = check.positive("n", n)
        return math.nan if first is None or second is None else first.trade(n, second)

    def _helps(self, v: object, one: str, of: str, method: str) -> tuple[Help | None, Help | None]:
        """What more samples of two modalities would do to Var(vᵀθ_c); None where that is infinite."""
        channels = self._channel(one), self._channel(of)
        v, whole = self.direction(v), self.information(None, method)
        if not loewner.in_range(whole, v, self.rtol):
            return None, None
        first, second = (Help.of(whole, v, c.per_sample(method, self.rtol), self.rtol) for c in channels)
        return first, second

    def orthogonal(self, data: str | None = None) -> bool:
        """Whether θ_c is Fisher-orthogonal to the own parameters: then "block" and "schur" agree (App C.2)."""
        return self.lost(data) <= self.rtol**0.5

    def lost(self, data: str | None = None) -> float:
        """Largest share of the block's information, over all directions, that unknown own parameters take away.

        max_v vᵀ(block − schur)v / vᵀ block v, in [0, 1]; for one modality the largest squared canonical
        correlation of its two designs. 1: a direction of θ_c cannot be told from own parameters.
        """
        block = self.information(data, "block")
        values, vectors = torch.linalg.eigh(block)
        seen = values > self.rtol * float(values[-1].clamp(min=0))
        if not bool(seen.any()):
            return 0.0
        root = vectors[:, seen] / values[seen].sqrt()
        return float(torch.linalg.eigvalsh(root.T @ (block - self.information(data, "schur")) @ root)[-1].clamp(0, 1))

    def report(self) -> pd.DataFrame:
        """Block beside Schur, a row for each modality and one for all.

        Columns: samples; rank_block and rank_schur, the directions of θ_c that are seen; lost (:meth:`lost`);
        differ, whether the two readings do.
        """
        import pandas as pd

        rows = {}
        for data in (*self.channels, "+".join(self.channels)) if len(self.channels) > 1 else self.channels:
            ranks = {f"rank_{m}": loewner.rank(self.information(data, m), self.rtol) for m in ("block", "schur")}
            samples = sum(self.channels[name].count for name in self._names(data))
            rows[data] = {"samples": samples, **ranks, "lost": self.lost(data), "differ": not self.orthogonal(data)}
        return pd.DataFrame(rows).T.astype({"samples": int, "rank_block": int, "rank_schur": int, "lost": float})

    def direction(self, v: object) -> Tensor:
        """``v`` as a float64 vector (d_c,)."""
        found = _given("v", v)
        if found.shape != (self.shared,) or not bool(found.any()):
            raise ValueError(f"v must be a vector of {self.shared} numbers, not all 0; got {found.tolist()}.")
        return found

    def _names(self, data: str | None) -> tuple[str, ...]:
        if data is None:
            return tuple(self.channels)
        return check.modalities_of(check.instance("data", data, str, "such as 'x+y'").split("+"), self.channels)

    def _channel(self, name: str) -> Channel:
        return self.channels[check.one_of("modality", name, self.channels)]


def _given(what: str, value: object) -> Tensor:
    """What was handed in as float64 on the CPU, where all of this is computed."""
    return check.finite(what, check.as_tensor(what, value, torch.float64)).detach().cpu()


def _on_shared(channel: Channel, method: str, rtol: float) -> Tensor:
    """Information of one modality on θ_c; by residuals of the design, which keeps more digits than I_cc − …."""
    shared, own = channel.stacked(noise=method != "printed")
    block = shared.T @ shared
    if method != "schur" or not own.shape[1]:
        return block
    left, values, _ = torch.linalg.svd(own, full_matrices=False)
    basis = left[:, values > rtol**0.5 * float(values.max())]
    residual = shared - basis @ (basis.T @ shared)
    return loewner.without_rounding(residual.T @ residual, rtol * float(torch.linalg.eigvalsh(block)[-1]))


@dataclass(frozen=True, eq=False)
class MonteCarlo:
    """Least-squares estimates of θ_c over simulated data.

    Attributes:
        estimates: (draws, d_c).
        covariance: (d_c, d_c), of their part along the directions that the data see.
        expected: (d_c, d_c), the pseudo-inverse of the Schur information.
        z: (d_c, d_c), (covariance − expected) in standard errors of the former.
    """

    estimates: Tensor
    covariance: Tensor
    expected: Tensor
    z: Tensor


def monte_carlo(
    world: Fisher, data: str | None = None, *, draws: int = 2000, theta_c: object = None, seed: int = 0
) -> MonteCarlo:
    """Simulate data, estimate all of θ by least squares weighted by 1/σ², and look at the spread of θ_c.

    Own parameters are 0: the estimator does not know it, and its spread does not depend on it.
    Directions that the data do not see get the least-norm estimate: no spread, but a bias, which is
    why their variance counts as infinite (Thm 2, case 1).

    Args:
        world: from :func:`fisher`.
        data: which modalities are seen; all by default.
        draws: simulated data sets (ours).
        theta_c: (d_c,) the truth; 0 by default.
        seed: of the noise.

    Returns:
        The estimates (draws, d_c), their covariance beside the expected one, and how far these are apart.

    Raises:
        ValueError, TypeError: fewer than 2 draws; an unknown modality; a theta_c of another size.
    """
    draws, seed = check.integer("draws", draws, at_least=2), check.integer("seed", seed)
    check.instance("world", world, Fisher, "make one with fisher(...)")
    names = world._names(data)
    truth = _given("theta_c", [0.0] * world.shared if theta_c is None else theta_c)
    if truth.shape != (world.shared,):
        raise ValueError(f"theta_c must be a vector of {world.shared} numbers, got shape {tuple(truth.shape)}.")
    rows = [world.channels[name].stacked() for name in names]
    shared = torch.cat([s for s, _ in rows])
    stacked = torch.cat([shared, torch.block_diag(*(own for _, own in rows))], 1)
    noise = torch.randn(draws, len(shared), dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    solve = torch.linalg.pinv(stacked, rtol=world.rtol**0.5)[: world.shared]
    estimates = (shared @ truth + noise) @ solve.T
    known = world.information("+".join(names))
    expected, seen = loewner.pseudo_inverse(known, world.rtol), loewner.projector(known, world.rtol)
    covariance = torch.cov((estimates @ seen).T).reshape(world.shared, world.shared)
    spread = ((expected.square() + torch.outer(expected.diagonal(), expected.diagonal())) / (draws - 1)).sqrt()
    edge = 1e-9 * float(expected.abs().max())  # an entry that does not vary at all
    z = torch.where(spread > edge, (covariance - expected) / spread.clamp(min=1e-300), torch.zeros_like(expected))
    return MonteCarlo(estimates, covariance, expected, z)
