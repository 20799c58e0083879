"""spec x kernel x options -> Plan: chosen probes, defines, map contents. Pure."""

from pytracer.kernel.facts import Answer, Facts
from pytracer.plan.alternatives import Chosen, Decided, Way, ways
from pytracer.plan.fault_injection import parse_fault
from pytracer.plan.plan import Plan, hooks_of, make_plan, output_of
from pytracer.plan.request import Fault, NameSetValue, Request

__all__ = [
    "Answer",
    "Chosen",
    "Decided",
    "Facts",
    "Fault",
    "NameSetValue",
    "Plan",
    "Request",
    "Way",
    "hooks_of",
    "make_plan",
    "output_of",
    "parse_fault",
    "ways",
]
