"""Create small budgets of a user that is neither root nor the one that runs the test."""

from __future__ import annotations

from typing import Any

from pytracer.budget import RUN, USER, Budget
from pytracer.record import replace

UID = 4_000_000_000


def budget_with(**limits: Any) -> Budget:
    """Return a budget with these limits; the other limits stay as they are."""
    return Budget(user=replace(USER, **limits), run=RUN)
