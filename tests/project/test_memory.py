"""A plane must not need more than the model, three copies of its parameters, and one chunk."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

PROGRAM = """
import json, resource, threading, time
import torch
from torch import nn
import xmodal_lab as xl
torch.set_num_threads(1)

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

model = nn.Sequential(nn.Linear(1024, 3072), nn.ReLU(), nn.Linear(3072, 2048), nn.ReLU(), nn.Linear(2048, 256))
data = (torch.randn(8, 1024), torch.randint(0, 256, (8,)))
size = 4 * sum(p.numel() for p in model.parameters())
loss = xl.Loss.from_module(model, data)
small = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3))
xl.landscape.plane(xl.Loss.from_module(small, (torch.randn(8, 4), torch.randint(0, 3, (8,)))), points=5)
before, peak, done = resident(), [0], threading.Event()

def watch():
    while not done.is_set():
        peak[0] = max(peak[0], resident())
        time.sleep(0.001)

watcher = threading.Thread(target=watch)
watcher.start()
xl.landscape.plane(loss, points=POINTS)
done.set()
watcher.join()
print(json.dumps({"size": size, "extra": peak[0] - before, "parameters": size // 4}))
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("points", [3])  # nine copies, were each point to have its own
def test_a_plane_of_ten_million_parameters_needs_three_copies(points: int) -> None:
    program = PROGRAM.replace("POINTS", str(points))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    seen = json.loads(done.stdout)
    assert seen["parameters"] > 9e6
    chunk = 8 * 2**20  # activations of 8 rows, one piece of random numbers, the allocator's slack
    assert seen["extra"] < 3 * seen["size"] + chunk
