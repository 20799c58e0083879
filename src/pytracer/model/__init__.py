"""WHAT FLOWS from the kernel to a sink: Schema, Snapshot, Histograms, Loss."""

from pytracer.model.items import Histograms, Item, Loss, Snapshot
from pytracer.model.schema import Schema

__all__ = ["Histograms", "Item", "Loss", "Schema", "Snapshot"]
