"""What judging may cost is measured in this machine's own units."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from squall.harness.run.judging import budget

STATUS = Path("/proc/self/status")


@pytest.mark.skipif(not STATUS.exists(), reason="only Linux tells a process its size in /proc")
def test_the_size_of_the_process_is_what_the_kernel_says() -> None:
    measure = budget().rss_bytes
    assert measure is not None
    (line,) = (each for each in STATUS.read_text().splitlines() if each.startswith("VmRSS:"))
    told_bytes = int(line.split()[1]) * 1024
    assert 0.5 < measure() / told_bytes < 2


@pytest.mark.skipif(not STATUS.exists(), reason="only Linux tells a process its size in /proc")
def test_pages_need_not_be_of_four_kilobytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on ARM, where they may have sixteen or sixty-four."""
    monkeypatch.setattr(os, "sysconf", lambda name: {"SC_PAGE_SIZE": 65_536}[name])
    measure = budget().rss_bytes
    assert measure is not None
    assert measure() % 65_536 == 0
    assert measure() > 65_536 * 1000
