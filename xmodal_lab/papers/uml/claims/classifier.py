"""Claims about what UML does to the classifier: its geometry, and the boundary between two classes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ....claims.chance import beats, guessed_side
from ....claims.claim import Claim, Conditions
from ....claims.verdicts import Measured, controlled, gain, order
from .. import member
from ..method.geometry import boundary_plane, nearest_classes
from ..method.grids import search
from . import few
from .few import arm, asked, difference, embeddings, told


def geometry(conditions: Conditions) -> Measured:
    """uml.M: raw and scale-free margins, clusters, prototypes."""
    uml = arm(conditions, shots=(4,), geometry=True)
    alone = arm(conditions, shots=(4,), geometry=True, taught=False)
    names = {"margin_scale_free": 1, "silhouette": 1, "davies_bouldin": -1, "alignment": 1}
    steps = {name: sign * difference(uml, alone, 4, name) for name, sign in names.items()}
    raw = gain(difference(uml, alone, 4, "margin"), scale=1, unit="").text
    note = f"4 shots. The raw margin changes by {raw}: it grows with the features, so the scale-free one is judged."
    m = order(steps, scale=1, unit="", note=f"{note} Alignment with text means is nearly a tautology for UML.")
    return told(m, conditions, {"unimodal": alone, "UML": uml}, 4)


def boundary(conditions: Conditions) -> Measured:
    """uml.D: each class against the one nearest to it, in the classifier's own plane (App F.1)."""
    known = asked(conditions)
    data = member.UmlWorld(embeddings(conditions)).load(known.defaults)
    base = member.head_of(known.defaults)
    none = tuple(0 for _ in base.auxiliary)
    arms: dict[str, dict[str, Any]] = {"uml": {}, "alone": {"aux_shots": none}, "permuted": {"relation": "permuted"}}
    heads = [replace(base, seed=s, **change) for change in arms.values() for s in conditions.seeds]
    conditions.trains()
    best = search(data, heads, {"lr": few.RATES}).best
    pairs = nearest_classes(data, base.target)
    seen = [[boundary_plane(data, trained, pair).attrs for pair in pairs] for trained in best]
    scores = {
        name: np.array([np.mean([plane[name] for plane in planes]) for planes in seen]).reshape(len(arms), -1)
        for name in ("accuracy", "separation")
    }
    uml, alone, permuted = scores["accuracy"]
    apart = gain(scores["separation"][0] - scores["separation"][1], scale=1, unit="sd").text
    note = (
        f"{len(pairs)} classes at {base.shots} shot, each against the one whose training mean is nearest: share of "
        f"their test samples on the right side, {100 * alone.mean():.1f} without and {100 * uml.mean():.1f} with text. "
        f"Their means move apart along the boundary's normal by {apart}."
    )
    m = controlled(gain(uml - alone, note=note), uml - permuted, "over permuted names")
    given = conditions.dataset
    return m if given is None else beats(m, {"unimodal": alone, "UML": uml}, guessed_side(given))


# The figures print no numbers; what one would see in a bar chart of each (ours). A cosine lies in [-1, 1], a silhouette
# too, but of overlapping classes near 0; Davies-Bouldin is some 2 to 4 here.
VISIBLE = {"margin_scale_free": 0.01, "silhouette": 0.01, "davies_bouldin": 0.05, "alignment": 0.1}

CLASSIFIER: tuple[Claim, ...] = (
    Claim("uml.M", "Margin and silhouette rise, Davies-Bouldin falls, prototypes align with text means.",
          "Fig 41-44", "", geometry, sesoi=VISIBLE, unit="", cost="seconds"),
    Claim("uml.D", "Unpaired text sharpens the decision boundary between similar classes.", "App F.1, Fig 38-40",
          "", boundary, sesoi=1.0, cost="seconds"),
)  # fmt: skip
