"""Create small budgets of a user that is neither root nor the one that runs the test."""

from __future__ import annotations

from typing import Any

from pytracer.budget import RUN, USER, Budget
from pytracer.record import replace

UID = 4_000_000_000


def of(**limits: Any) -> Budget:
    """Return a budget whose users may spend no more than these limits, and as much as ever of the others."""
    return Budget(user=replace(USER, **limits), run=RUN)
