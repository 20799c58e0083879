"""spec x kernel x options -> Plan: chosen probes, defines, map contents. Pure."""

from pytracer.kernel.facts import KernelInfo, Support
from pytracer.plan.alternatives import AlternativeReport, ChosenProbe, ResolvedHook, report_alternatives
from pytracer.plan.fault_injection import parse_fault
from pytracer.plan.plan import Plan, hooks_of, make_plan, output_of
from pytracer.plan.request import Fault, NameSetValue, Request

__all__ = [
    "AlternativeReport",
    "ChosenProbe",
    "Fault",
    "KernelInfo",
    "NameSetValue",
    "Plan",
    "Request",
    "ResolvedHook",
    "Support",
    "hooks_of",
    "make_plan",
    "output_of",
    "parse_fault",
    "report_alternatives",
]
