"""Shared by all tests: shape checks on, one thread, no network for model hubs, any order of tests on request."""

from __future__ import annotations

import functools
import gc
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ["XMODAL_CHECK_SHAPES"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["MPLBACKEND"] = "Agg"

import hypothesis
import pytest
import torch

hypothesis.settings.register_profile("shared machine", deadline=None)  # no test fails because another one runs
hypothesis.settings.load_profile("shared machine")


# Folders and files on which another processor's rounding has no bearing: text, files, processes, refusals, pages, and
# fuzz that repeats others. Where the fast tier runs a second time on a machine, they stay aside, and so do tests that
# are marked ``once`` themselves: dear ones that ask whether something runs, not which number comes out.
ONCE = {
    "app", "hostile", "project",
    "test_claims", "test_cubes_are_files", "test_datasets", "test_datasets_worlds", "test_determinism",
    "test_devices", "test_feature_cache", "test_javascript", "test_joblib", "test_layouts", "test_losses_go", "test_own_data", "test_own_ledger", "test_power",
    "test_real_data", "test_store", "test_stores_grow", "test_tables", "test_train_here", "test_watching", "test_widgets",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Results and timings must not depend on how many cores happen to be free."""
    torch.set_num_threads(int(os.environ.get("XMODAL_TEST_THREADS", "1")))


@pytest.fixture(autouse=True, scope="module")
def _what_is_loaded_stays() -> None:
    """Whoever looks for circles, Python itself or a test, looks at what was made since: not at all of PyTorch again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def _this_checkout_is_asked_for_its_commit_once() -> Iterator[None]:
    """Every sweep asks git twice, which takes as long as a toy sweep; other repositories are asked each time."""
    from xmodal_lab.sweeps import circumstances

    ask, root = circumstances._git, Path(__file__).resolve().parent.parent
    once = functools.cache(ask)
    circumstances._git = lambda folder, *words: (once if folder.is_relative_to(root) else ask)(folder, *words)
    yield
    circumstances._git = ask


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--shuffle", type=int, metavar="SEED", help="run files, and the tests of each, in random order")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if ONCE & {item.path.parent.name, item.path.stem}:
            item.add_marker(pytest.mark.once)
    seed = config.getoption("shuffle")
    items[:] = longest_first(items) if seed is None else shuffled(items, seed)


def longest_first(items: list[pytest.Item]) -> list[pytest.Item]:
    """Files with slow tests before all others, so that at the end no worker waits for one of them."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    return sorted(items, key=lambda item: item.path not in slow)


def shuffled(items: list[pytest.Item], seed: int) -> list[pytest.Item]:
    """Files in random order, and the tests of each; a file stays together, with what its tests share."""
    draw = random.Random(seed)
    files: dict[Any, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    order = list(files)
    draw.shuffle(order)
    return [item for path in order for item in draw.sample(files[path], len(files[path]))]


@pytest.fixture
def faults(request: pytest.FixtureRequest) -> Callable[..., None]:
    """``faults("full disk", 12)`` counts what a test did on purpose; pytest prints the sums at its end."""

    def count(kind: str, n: int = 1) -> None:
        request.node.user_properties.append(("fault", (kind, n)))  # travels from xdist's workers with the report

    return count


def pytest_terminal_summary(terminalreporter: Any) -> None:
    injected: Counter[str] = Counter()
    for report in {r for reports in terminalreporter.stats.values() for r in reports if hasattr(r, "user_properties")}:
        for name, value in report.user_properties if getattr(report, "when", "") == "call" else ():
            if name == "fault":
                injected[value[0]] += value[1]
    if injected:
        kinds = ", ".join(f"{kind} {n}" for kind, n in injected.most_common())
        terminalreporter.write_line(f"faults injected: {injected.total()} ({kinds})")
