"""What lies beside the repository where somebody has put it: the vendors' documents and recorded payloads."""

from __future__ import annotations

from pathlib import Path

import pytest

FIXTURES = Path(__file__).parents[3] / "shared" / "fixtures"

needs_fixtures = pytest.mark.skipif(
    not FIXTURES.exists(),
    reason="the vendors' documents and recordings are not in ../shared/fixtures: see CONTRIBUTING.md",
)
