"""The five papers as presets of one recipe; every default is the paper's, or says whose it is.

A preset has no precision of its own: terms compute in that of the net and the data, float32 unless you say otherwise
(``net.double()``, ``dataset.to(dtype=torch.float64)``), and so do the nets behind the rows of the ledger. Two things
there are made in float64 before, and no preset makes them: the frozen perceptors of cox (their features are given to
the learner in float32), and the principal axes, alignments and small encoders of uml's worlds. Each paper's trainer,
run once with its own loss and once with its preset's, gives the same accuracies on small settings, three seeds each,
and the same trained parameters to float32's rounding (``tests/training/test_presets.py``; cox to 1e-4, since its
features are layer-normalised twice there, and without exploration, which its preset has not).

>>> import xmodal_lab as xl
>>> xl.recipes.dml(alpha=0.5).settings
{'pairing': 'same_class', 'share': 0.5}
>>> xl.recipes.synergy(0.3, "L→V").settings["a_latent"]
0.3
"""

from __future__ import annotations

from typing import Any

from ..data.pairing import Pairing
from ..utils import checks as check
from .recipe import Recipe
from .terms import Alignment, Connection, Latent, Shared, Task

# [M_j → M_i]: the letters of synergy, and the modalities that they stand for here.
LETTERS = {"L": "text", "V": "image", "A": "audio"}
__all__ = ["LETTERS", "base", "cox", "dml", "synergy", "uml", "wma"]


def base() -> Recipe:
    """The task alone, on pairs as they came (SML of dml)."""
    return Recipe((Task(),), name="base")


def dml(alpha: float = 1.0, *, pairing: str = "same_class", own: bool = True, rows: str = "complete") -> Recipe:
    """Distributional multimodal learning: a share of the pairs is drawn anew each epoch (dml Sec 3.3).

    Args:
        alpha: the share; 0 is SML, 1 is DML as printed.
        pairing: from where partners are drawn, see :class:`~xmodal_lab.Pairing`.
        own, rows: likewise.

    Returns:
        The recipe; settings ``pairing`` and ``share``.
    """
    return Recipe((Task(),), Pairing(pairing, alpha, own, rows), name="dml")


def synergy(alpha: float = 0.3, direction: str = "L→V", *, kind: str = "imperfect", loss: str = "mse_mean") -> Recipe:
    """[M_j → M_i]: L = (1 - α) L_cls + α L_z (synergy Sec 3.3, Alg 1).

    Args:
        alpha: α (0.3: Sec 4.1).
        direction: "L→V", "A→V", …; M_j, the frozen teacher, before the arrow, M_i, whose latents are drawn, behind it.
        kind, loss: of the target, see :class:`~xmodal_lab.terms.Latent`.

    Returns:
        The recipe; settings ``pairing``, ``share`` and ``a_latent``.

    Raises:
        ValueError: an unknown direction.
    """
    teacher, arrow, learner = str(direction).replace("->", "→").partition("→")
    known = [f"{a}→{b}" for a in LETTERS for b in LETTERS if a != b]
    check.one_of("direction", f"{teacher}{arrow}{learner}", known)
    latent = Latent(LETTERS[teacher], loss, kind, (LETTERS[learner],), weight=alpha)
    return Recipe((Task(), latent), mix="convex", name="synergy")


def wma(alpha: float = 0.1, beta: float = 0.4, *, reference: str = "first_batch", **options: Any) -> Recipe:
    """Modality alignment drawn to a target: L = L_task + α (D - β D̄)² (wma Eq 9, 10).

    Args:
        alpha: α (0.1; ours).
        beta: β; 1 keeps D where it was, 0 minimises transport (Tab 2).
        reference: D̄ of the "first_batch" or of each "batch".
        options: ``cost``, ``over``, ``solver`` of :class:`~xmodal_lab.terms.Alignment`.

    Returns:
        The recipe; settings ``pairing``, ``share``, ``a_align`` and ``b_align``.
    """
    return Recipe((Task(), Alignment(reference=reference, weight=alpha, target=beta, **options)), name="wma")


def uml(
    lam: float = 1.0, modality: str = "text", *, shots: int | None = None, ratio: float = 1.0, **options: Any
) -> Recipe:
    """Supervised unpaired multimodal learning: CE + λ CE of unpaired rows through the shared part (uml Alg 2).

    Args:
        lam: λ (1: App B).
        modality: of the unpaired rows.
        shots: of each class; all when not given.
        ratio: r, unpaired rows for each row of the task (1; App E.11).
        options: ``relation`` of :class:`~xmodal_lab.terms.Shared`.

    Returns:
        The recipe; settings ``pairing``, ``share`` and ``lam``.
    """
    return Recipe((Task(), Shared(modality, shots, weight=lam, ratio=ratio, **options)), name="uml")


def cox(weight: float = 1.0, out: str | None = None, *, beta_vib: float = 0.0) -> Recipe:
    """Connection training: the latents of the modality that is out, predicted from the others' (cox Eq 9).

    What this carries of the paper: cross-entropy on labelled pairs and the connections of all modalities inside, at
    once, as ``papers.cox`` trains with ``staging="joint", exploration=False``. What it does not: exploration (Eq 13)
    and its warm-up are later phases, on rows without labels, with classifiers h_k* that are fitted to mappings as they
    stand; they are in ``papers.cox`` (``staging="staged"``, the order of Sec 3.2).

    Args:
        weight: of the connection (1: Eq 9).
        out: the modality; the model's last when not given.
        beta_vib: weight of the bottleneck's KL term.

    Returns:
        The recipe; settings ``pairing``, ``share`` and ``a_connect``.
    """
    return Recipe((Task(), Connection(out, beta_vib, weight=weight)), name="cox")
