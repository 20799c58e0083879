"""WHAT a tracer declares: pure data, valid on every machine.

A tracer's file imports this room and nothing else of pytracer. What a kernel makes of it is a Plan
(:mod:`pytracer.plan`); what was opened is a Session (:mod:`pytracer.session`).
"""

from pytracer.spec.columns import Column, Key, Unit
from pytracer.spec.filters import Filter
from pytracer.spec.hooks import (
    Alternative,
    Fentry,
    Fexit,
    Hook,
    Kprobe,
    KprobeEvents,
    KprobeMulti,
    Kprobes,
    Kretprobe,
    KretprobeEvent,
    KretprobeMulti,
    PerfSample,
    Probe,
    RawTracepoint,
    SocketFilter,
    Spot,
    Tracepoint,
    TypedTracepoint,
    Uprobe,
    UprobeMulti,
    Uretprobe,
    UretprobeMulti,
    UserProbe,
)
from pytracer.spec.options import Arguments, Choice, Flag, GroupBy, NameSet, Number, Option, Targets
from pytracer.spec.outputs import Histogram, Output, Stacks, Stream, Table
from pytracer.spec.sources import SPELLINGS, Source, parse_source
from pytracer.spec.tracer import Tracer

__all__ = [
    "SPELLINGS",
    "Alternative",
    "Arguments",
    "Choice",
    "Column",
    "Fentry",
    "Fexit",
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
    "KretprobeEvent",
    "KretprobeMulti",
    "NameSet",
    "Number",
    "Option",
    "Output",
    "PerfSample",
    "Probe",
    "RawTracepoint",
    "SocketFilter",
    "Source",
    "Spot",
    "Stacks",
    "Stream",
    "Table",
    "Targets",
    "Tracepoint",
    "Tracer",
    "TypedTracepoint",
    "Unit",
    "Uprobe",
    "UprobeMulti",
    "Uretprobe",
    "UretprobeMulti",
    "UserProbe",
    "parse_source",
]
