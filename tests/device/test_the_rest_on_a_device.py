"""Numbers, encoders, towers and results that come from an accelerator, or lie half there: taken, or refused in words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
import torch

import xmodal_lab as xl
from xmodal_lab.instruments import metrics
from xmodal_lab.models.one_tower import OneTower
from xmodal_lab.models.pretrained.encoder import pretrained
from xmodal_lab.sweeps.experiment import Experiment, Variable

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def clouds() -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    return torch.randn(6, 3, generator=draw), torch.randn(6, 3, generator=draw)


def test_closed_forms_follow_their_tensors_or_go_to_the_cpu(gpu: Any) -> None:
    sides = torch.tensor([2.0, 1.5]), torch.tensor([1.5, 1.0])
    here, there = (xl.transport.alpha_star(1.0, *(s.to(place) for s in sides)) for place in ("cpu", gpu.type))
    assert there.clipped.device.type == gpu.type
    torch.testing.assert_close(there.clipped.cpu(), here.clipped)
    a, b = clouds()
    one, two = (
        xl.information.fisher({"A_c": a.to(place), "B_c": b.to(place)}).information() for place in ("cpu", gpu.type)
    )
    assert two.device.type == "cpu" and two.dtype == torch.float64
    torch.testing.assert_close(two, one)


@pytest.mark.parametrize(
    "ask",
    [
        metrics.mmd,
        metrics.prototype_alignment,
        xl.transport.cost_matrix,
        xl.transport.w2,
        lambda a, b: metrics.functional_margin(a, b, torch.arange(6) % 3),
    ],
)
def test_clouds_on_two_devices_are_refused_by_name(gpu: Any, ask: Callable[..., object]) -> None:
    a, b = clouds()
    with pytest.raises(ValueError, match=rf"on different devices: \w+ on {gpu.type}.*, \w+ on cpu; move one with .to"):
        ask(a.to(gpu.type), b)


def test_encoders_run_on_the_device_and_take_what_lies_there(gpu: Any, tmp_path: Path) -> None:
    draw = torch.Generator().manual_seed(0)
    pictures, waves = torch.rand(3, 3, 16, 16, generator=draw), torch.randn(2, 900, generator=draw).clamp(-3, 3) / 3
    whole = (waves * 30_000).to(torch.int16)
    for family, kind, given, asked in (
        ("vit", "image", pictures, {}), ("wav2vec2", "audio", waves, {"rate": 16_000}),
        ("wav2vec2", "audio", whole, {"rate": 16_000}),
    ):  # fmt: skip
        folder = tmp_path / family
        folder = folder if folder.is_dir() else tiny_models.save(family, folder)
        here = pretrained(kind, folder)(given, cache=False, **asked)
        there = pretrained(kind, folder, device=gpu.type)(given.to(gpu.type), cache=False, **asked)
        torch.testing.assert_close(there.cpu(), here, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match=rf"device '{gpu.type}:7' cannot be used here .*; use 'auto' or 'cpu'"):
        pretrained("image", tmp_path / "vit", device=f"{gpu.type}:7")


def test_nets_name_both_devices_where_inputs_lie_elsewhere(gpu: Any) -> None:
    ds = xl.load("shapes", modalities=("image", "audio"), n_train=12, n_test=6)
    for net in (OneTower.for_dataset(ds, width=8, layers=1), xl.LateFusion.for_dataset(ds, architecture="mlp")):
        with pytest.raises(ValueError, match=rf"(?s)on cpu.*{gpu.type}"):
            net.to(gpu.type)(ds.test.inputs)


def test_a_peer_draws_the_plane_of_a_net_on_the_device(gpu: Any) -> None:
    pytest.importorskip("loss_landscapes")
    ds = xl.load("shapes", modalities=("image", "audio"), n_train=12, n_test=6)
    net = xl.LateFusion.for_dataset(ds, architecture="mlp").to(gpu.type)
    plane = xl.landscape.plane(xl.loss_on(net, ds.test), points=3, engine="loss-landscapes")
    assert np.isfinite(plane.values).all()


def on_the_device(settings: dict[str, Any], report: Any = None) -> dict[str, Any]:
    """A member whose numbers are where it computed them, with gradients, one of them in bfloat16."""
    place = "cuda" if torch.cuda.is_available() else "cpu"
    score = torch.tensor(settings["alpha"], device=place, requires_grad=True) * 2
    return {"score": score, "curve": torch.arange(3.0, device=place).bfloat16()}


def test_members_may_return_tensors_of_the_device(gpu: Any) -> None:
    from xmodal_widgets.view.joining import joined

    variables = {"score": Variable(), "curve": Variable({"at": (0, 1, 2)})}
    made = Experiment("device numbers", defaults={"alpha": 0.0}, variables=variables, member=on_the_device)
    cube = xl.sweep(made, alpha=[0.0, 1.0], progress=False)
    assert cube.score.values.tolist() == [0, 2] and cube.curve.values[1].tolist() == [0, 1, 2]
    more = joined(cube, {"alpha": 0.5}, on_the_device({"alpha": 0.5}))
    assert more.score.values.tolist() == [0, 1, 2]
