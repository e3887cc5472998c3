"""The browser tier stands on a Chromium; this is the one test that is left where there is none."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.browser


def test_a_chromium_is_here(browser: Any) -> None:
    assert browser.version
