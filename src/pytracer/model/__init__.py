"""The data between the kernel and a sink: Schema, Batch, Snapshot, Histograms, StackSnapshot,
ProfileSnapshot, Loss, Statement (AuditResult, Totals, CallOverhead)."""

from pytracer.model.items import (
    AuditResult,
    Batch,
    CallOverhead,
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
    "CallOverhead",
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
