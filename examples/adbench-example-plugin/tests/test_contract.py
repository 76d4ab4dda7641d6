"""Both worlds keep adbench's contract: the same checks as `adbench check-env NAME`."""

from __future__ import annotations

from adbench_example_plugin.hot_cold import HotCold
from adbench_example_plugin.lucky_ring import lucky_ring

import adbench.testing


def test_hot_cold_keeps_the_contract() -> None:
    """Written on tensors."""
    adbench.testing.check_env(HotCold())


def test_lucky_ring_keeps_the_contract() -> None:
    """A plain gymnasium environment."""
    adbench.testing.check_env(lucky_ring())
