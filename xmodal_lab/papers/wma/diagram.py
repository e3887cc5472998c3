"""The method of wma, a target for the distance between modalities, as boxes and arrows (Sec 3, Fig 1)."""

from __future__ import annotations

from ...plots import Arrow, Box, Diagram

DIAGRAM = Diagram(
    "wma: one transformer, and a target for the distance between its two kinds of tokens",
    (
        Box("patches", "patches of a picture", (0, 0)),
        Box("words", "words of its caption", (0, 1.4)),
        Box("tower", "one transformer over\n[cls; patches; words]", (1, 0.7), "trained"),
        Box("cls", "output [cls]", (2, 0)),
        Box("tokens", "outputs of patches\nand of words", (2, 1.4)),
        Box("task", "task loss", (3, 0), "loss"),
        Box("plan", "cheapest plan T,\nD = ⟨C, T⟩", (3, 1.4), "solved"),
        Box("wma", "α · (D − β D̄)²", (4, 1.4), "loss"),
    ),
    (
        Arrow("patches", "tower"),
        Arrow("words", "tower"),
        Arrow("tower", "cls"),
        Arrow("tower", "tokens"),
        Arrow("cls", "task"),
        Arrow("tokens", "plan", "cost C"),
        Arrow("plan", "wma"),
    ),
    "Nothing is frozen and no parameter is added: the second loss asks where D should go, in units of D̄ at the start.",
)
