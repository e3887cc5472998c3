"""The method of cox, connect and explore, as boxes and arrows (Sec 3.2, 3.3, Fig 4)."""

from __future__ import annotations

from ...plots import Arrow, Box, Diagram

DIAGRAM = Diagram(
    "cox: known modalities guide the learner of a new one",
    (
        Box("known", "known modalities\nx₁, x₂ (have labels)", (0, 0)),
        Box("perceptors", "perceptors", (1, 0), "frozen"),
        Box("p", "mapping p(v | x_k)", (2, 0), "trained"),
        Box("hk", "classifiers h₁*, h₂*", (3, 0), "trained"),
        Box("new", "new modality x_O\n(few labels or none)", (0, 1.3)),
        Box("ho", "learner h_O", (1, 1.3), "trained"),
        Box("con", "connect: ‖x_O − q(p)‖²\nand label loss", (2, 1.3), "loss"),
        Box("split", "do h₁*, h₂* agree?\nyes A, no D", (3, 1.3), "solved"),
        Box("explore", "explore: KL from D\nto anchors in A", (2, 2.5), "loss"),
    ),
    (
        Arrow("known", "perceptors"),
        Arrow("perceptors", "p"),
        Arrow("p", "hk"),
        Arrow("p", "con"),
        Arrow("new", "ho"),
        Arrow("ho", "con"),
        Arrow("hk", "split", "on x_O", dashed=True),
        Arrow("split", "explore"),
        Arrow("explore", "ho"),
    ),
    "First connect, then split the new data once per round, then explore. Anchors come from A.",
)
