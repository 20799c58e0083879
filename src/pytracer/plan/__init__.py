"""spec x kernel x options -> Plan: chosen probes, defines, map contents. Pure."""

from pytracer.kernel.facts import KernelInfo, Support
from pytracer.plan.alternatives import AlternativeReport, ChosenProbe, ResolvedHook, report_alternatives
from pytracer.plan.plan import Plan, hooks_of, make_plan, output_of

__all__ = [
    "AlternativeReport",
    "ChosenProbe",
    "KernelInfo",
    "Plan",
    "ResolvedHook",
    "Support",
    "hooks_of",
    "make_plan",
    "output_of",
    "report_alternatives",
]
