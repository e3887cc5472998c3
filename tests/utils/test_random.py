"""Seeds by purpose: the same numbers for ever, and nothing shared between neighbours."""

from __future__ import annotations

import torch

from xmodal_lab.data.drawing import shuffled_classes
from xmodal_lab.utils.random import Streams, mixed, seed_of


def test_seeds_are_what_they_always_were() -> None:
    assert mixed(0) == 1 and mixed(3, 5) == 3 * 0x9E3779B1 + 5 * 0x85EBCA77 + 1
    assert mixed(2**40, 7, offset=3, bits=47) < 2**47
    assert seed_of(3, "task") == 2877780158 and seed_of(3, "a", "b") == seed_of(3, "a:b")


def test_neighbours_share_no_seed() -> None:
    seeds = {mixed(seed, stream) for seed in range(100) for stream in range(100)}
    assert len(seeds) == 10_000


def test_a_member_draws_as_if_alone() -> None:
    both, alone = Streams([4, 5], 2), Streams([5], 2)
    assert torch.equal(both.normal((3,))[1], alone.normal((3,))[0])
    assert torch.equal(both.orders(6)[1], alone.orders(6)[0])
    among = torch.tensor([[False, True, False], [False, False, False]])
    chosen = both.chosen(among, 20)
    assert set(chosen[0].tolist()) == {1} and set(chosen[1].tolist()) == {0, 1, 2}
    assert float(both.uniform((50,)).abs().max()) <= 1 and int(both.integers(3, (50,)).max()) <= 2


def test_classes_are_drawn_one_by_one_and_more_rows_hold_the_fewer() -> None:
    labels = torch.tensor([2, 0, 2, 0, 2, 1])
    drawn = dict(shuffled_classes(labels, torch.Generator().manual_seed(1)))
    assert list(drawn) == [0, 1, 2] and sorted(drawn[2].tolist()) == [0, 2, 4]
    among = torch.tensor([True, True, True, True, True, False])
    some = dict(shuffled_classes(labels, torch.Generator().manual_seed(1), among))
    assert len(some[1]) == 0 and torch.equal(some[0], drawn[0]), "a class without rows draws nothing"
