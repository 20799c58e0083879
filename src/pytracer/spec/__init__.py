"""WHAT a tracer declares: pure data, valid on every machine.

A tracer's file imports this room and nothing else of pytracer. What a kernel makes of it is a Plan
(:mod:`pytracer.plan`); what was opened is a Session (:mod:`pytracer.session`).
"""

from pytracer.spec.columns import Column, Key, Unit
from pytracer.spec.filters import Filter
from pytracer.spec.hooks import (
    Alternative,
    Hook,
    Kprobe,
    KprobeEvents,
    KprobeMulti,
    Kprobes,
    Kretprobe,
    KretprobeMulti,
    PerfSample,
    Probe,
    RawTracepoint,
    SocketFilter,
    Spot,
    Tracepoint,
    Uprobe,
    UprobeMulti,
    Uretprobe,
    UretprobeMulti,
    UserProbe,
)
from pytracer.spec.options import Arguments, Choice, Flag, GroupBy, NameSet, Number, Option
from pytracer.spec.outputs import Histogram, Output, Stacks, Stream, Table
from pytracer.spec.tracer import Tracer

__all__ = [
    "Alternative",
    "Arguments",
    "Choice",
    "Column",
    "Filter",
    "Flag",
    "GroupBy",
    "Histogram",
    "Hook",
    "Key",
    "Kprobe",
    "KprobeEvents",
    "KprobeMulti",
    "Kprobes",
    "Kretprobe",
    "KretprobeMulti",
    "NameSet",
    "Number",
    "Option",
    "Output",
    "PerfSample",
    "Probe",
    "RawTracepoint",
    "SocketFilter",
    "Spot",
    "Stacks",
    "Stream",
    "Table",
    "Tracepoint",
    "Tracer",
    "Unit",
    "Uprobe",
    "UprobeMulti",
    "Uretprobe",
    "UretprobeMulti",
    "UserProbe",
]
