"""WHAT FLOWS from the kernel to a sink: Schema, Batch, Snapshot, Histograms, Stacks, Profile, Loss,
Statement (AuditResult, Totals)."""

from pytracer.model.items import (
    AuditResult,
    Batch,
    Histograms,
    Item,
    Loss,
    Profile,
    Snapshot,
    Stacks,
    Statement,
    Totals,
)
from pytracer.model.schema import Schema
from pytracer.model.tabular import Coded

__all__ = [
    "AuditResult",
    "Batch",
    "Coded",
    "Histograms",
    "Item",
    "Loss",
    "Profile",
    "Schema",
    "Snapshot",
    "Stacks",
    "Statement",
    "Totals",
]
