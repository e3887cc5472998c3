"""Shared by all tests: shape checks on, one thread, no network for model hubs."""

from __future__ import annotations

import os

os.environ["XMODAL_CHECK_SHAPES"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["MPLBACKEND"] = "Agg"

import pytest
import torch


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Results and timings must not depend on how many cores happen to be free."""
    torch.set_num_threads(1)
