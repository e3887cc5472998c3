"""Normal numbers: torch's own, whatever they are drawn together with."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from xmodal_lab.losses import directions

SHAPES = [(96, 64), (96,), (40, 128), (40,), (10, 40), (10,), (3,), (0,), (300, 700), (5000,), (123_457,), (16,)]


def one_after_the_other(counts: list[int], generator: torch.Generator) -> list[torch.Tensor]:
    pieces = [torch.empty(n, dtype=torch.float64).split(directions.AT_ONCE) for n in counts]
    return [torch.cat([torch.randn(len(x), generator=generator, dtype=x.dtype) for x in piece]) for piece in pieces]


@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 4096, 4101, 40_000, 131_072])
def test_they_are_torchs_and_leave_its_generator_as_torch_does(count: int) -> None:
    mine, theirs = (torch.Generator().manual_seed(3) for _ in range(2))
    found = directions.normals(count, mine)
    assert_close(found, torch.randn(count, generator=theirs, dtype=torch.float64), rtol=1e-13, atol=1e-15)
    assert torch.equal(mine.get_state(), theirs.get_state())


@pytest.mark.parametrize("dtypes", [(torch.float32,), (torch.float64,), (torch.float32, torch.float64)])
def test_parameters_drawn_together_are_those_drawn_one_after_the_other(dtypes: tuple[torch.dtype, ...]) -> None:
    params = {str(i): torch.zeros(shape, dtype=dtypes[i % len(dtypes)]) for i, shape in enumerate(SHAPES)}
    mine, theirs = (torch.Generator().manual_seed(5) for _ in range(2))
    found = directions.Gaussians(params, mine)()
    expected = one_after_the_other([p.numel() for p in params.values()], theirs)
    for (name, p), numbers in zip(params.items(), expected, strict=True):
        assert found[name].shape == p.shape and found[name].dtype == p.dtype
        assert_close(found[name], numbers.view(p.shape).to(p.dtype), rtol=1e-13, atol=1e-15)
    assert torch.equal(mine.get_state(), theirs.get_state())
