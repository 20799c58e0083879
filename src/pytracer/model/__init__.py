"""The data between the kernel and a sink: Schema, Batch, Snapshot, Histograms, StackSnapshot,
ProfileSnapshot, Loss, Statement (AuditResult, Totals)."""

from pytracer.model.items import (
    AuditResult,
    Batch,
    Histograms,
    Item,
    Loss,
    ProfileSnapshot,
    Snapshot,
    StackSnapshot,
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
    "ProfileSnapshot",
    "Schema",
    "Snapshot",
    "StackSnapshot",
    "Statement",
    "Totals",
]
