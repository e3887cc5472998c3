"""Static pictures: who wins where in the plane through three classes, one panel per head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ...data.unpaired import Unpaired
from ...utils import checks as check
from .method.geometry import decision_plane
from .method.training import Trained

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# seaborn's "colorblind", as in the live views.
COLORS = ("#0173b2", "#de8f05", "#029e73")


def draw_decisions(data: Unpaired, heads: Mapping[str, Trained], classes: Sequence[int], points: int = 101) -> Figure:
    """Decisions of several heads in one plane through three class means (App F.1), dots for the test samples.

    Args:
        data: what the heads were trained on.
        heads: by the words above each panel; the test accuracy over all classes is put behind them.
        classes, points: as in :func:`~xmodal_lab.papers.uml.method.geometry.decision_plane`.

    Returns:
        The figure, one panel a head.

    Raises:
        ValueError: no head; classes that span no plane.
    """
    from matplotlib import pyplot

    if not check.instance("heads", heads, dict, 'heads by name, such as {"UML": trained}'):
        raise ValueError("heads is empty; give at least one trained head.")
    planes = {name: decision_plane(data, head, classes, points) for name, head in heads.items()}
    size = (4 * len(planes), 3.6)
    figure, axes = pyplot.subplots(1, len(planes), figsize=size, sharex=True, sharey=True, squeeze=False)
    for axis, (name, (plane, dots)) in zip(axes[0], planes.items(), strict=True):
        for c, color in zip(classes, COLORS, strict=True):
            mine = dots.label == c
            axis.contourf(plane.a, plane.b, (plane == c).astype(float), levels=[0.5, 1.5], colors=[color], alpha=0.25)
            axis.scatter(dots.x[mine], dots.y[mine], s=10, color=color, label=data.classes[c])
        axis.set(xlabel="a", ylabel="b")
        axis.set_title(f"{name}: {100 * heads[name].accuracy:.0f} %", fontsize=10)
    axes[0, -1].legend(fontsize=8)
    figure.tight_layout()
    return figure
