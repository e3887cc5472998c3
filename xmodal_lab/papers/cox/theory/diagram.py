"""Fig 3 from numbers: how I(X_O; Y) splits into what X_O shares and what it alone knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .terms import Terms, terms

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NEGATIVE, POSITIVE = "#de8f05", "#0173b2"  # seaborn's colour-blind-safe orange and blue


def information_diagram(p: Any, unit: str = "nats") -> Figure:
    """Draw the four parts of I(X_O; Y), and the disagreement beside its bounds.

    The regions' places are Fig 3's, their areas mean nothing: co-information may be negative (then orange).

    Args:
        p: one distribution (n1, n2, no, ny).
        unit: "nats" or "bits".

    Returns:
        The figure.

    Raises:
        ValueError: a batch of distributions; and as :func:`xmodal_lab.papers.cox.terms`.
    """
    import matplotlib.pyplot as plt
    from matplotlib.patches import Circle

    t = terms(p, unit)
    if t.disagreement.ndim:
        raise ValueError(f"the diagram shows one distribution, got a batch of {tuple(t.disagreement.shape)}; index it.")
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.8), layout="constrained", width_ratios=[1, 1.15])
    circles = {"X_O": (0.0, 0.55), "X_1": (-0.6, -0.45), "X_2": (0.6, -0.45)}
    for name, (x, y) in circles.items():
        color = "0.2" if name == "X_O" else "0.55"
        left.add_patch(Circle((x, y), 1.0, fill=False, edgecolor=color, linewidth=1.6))
        shift = {"X_O": (0, 1.12), "X_1": (-0.78, -0.98), "X_2": (0.78, -0.98)}[name]
        left.text(x + shift[0], y + shift[1], f"${name}$", ha="center", va="center", fontsize=12, color=color)
    parts = {"unique": (0, 1.05), "shared_1": (-0.62, 0.28), "shared_2": (0.62, 0.28), "common": (0, -0.12)}
    for name, (x, y) in parts.items():
        value = _plain(getattr(t, name))
        color = NEGATIVE if value < 0 else POSITIVE
        box = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}  # a number may lie on a circle's line
        left.text(x, y, f"{value:+.3f}", ha="center", va="center", fontsize=10, color=color, weight="bold", bbox=box)
    left.set(xlim=(-1.9, 1.9), ylim=(-1.75, 1.9), aspect="equal")
    left.set_title(f"what they tell of Y: I(X_O; Y) = {_plain(t.overall):.3f} {unit}", fontsize=10)
    left.axis("off")
    _bars(right, t, unit)
    plt.close(figure)  # a notebook shows what a cell returns, and would show an open figure a second time
    return figure


def _bars(ax: Any, t: Terms, unit: str) -> None:
    bars = {
        "disagreement P(h1* ≠ h2*)": (_plain(t.disagreement), "0.35"),
        "bound of Eq 12": (_plain(t.eq12), POSITIVE),
        "Eq 11 as the proof reads it": (_plain(t.eq11_joint), POSITIVE),
    }
    place = np.arange(len(bars))[::-1]
    ax.barh(place, [v for v, _ in bars.values()], color=[c for _, c in bars.values()], height=0.55)
    for y, (value, _) in zip(place, bars.values(), strict=True):
        ax.text(max(value, 0), y, f" {value:.3f}", va="center", fontsize=10)
    ax.set_yticks(place, list(bars))
    ax.axvline(_plain(t.disagreement), color="0.35", linestyle=":", linewidth=1)
    top = max(0.5, *(v for v, _ in bars.values()))
    ax.set(xlim=(min(0.0, *(v for v, _ in bars.values())), 1.2 * top), xlabel=f"probability; bounds in {unit}")
    word = "holds" if bool(t.holds("eq12")) else "is broken"
    ax.set_title(f"Theorem 1 (Eq 12) {word} here", fontsize=10)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)


def _plain(value: Any) -> float:
    number = float(value)
    return 0.0 if abs(number) < 5e-10 else number
