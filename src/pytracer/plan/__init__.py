"""Resolve a request for a kernel: the chosen probes, the macros, the entries of maps. Pure."""

from typing import TYPE_CHECKING

from pytracer.exports import import_on_use

if TYPE_CHECKING:
    from pytracer.kernel.facts import KernelInfo, Support
    from pytracer.plan.alternatives import AlternativeReport, ChosenProbe, ResolvedHook, report_alternatives
    from pytracer.plan.hook_choice import hooks_of
    from pytracer.plan.output_choice import output_of
    from pytracer.plan.plan import Plan, make_plan

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

__getattr__ = import_on_use(
    __name__,
    {
        "alternatives": (
            "AlternativeReport",
            "ChosenProbe",
            "KernelInfo",
            "ResolvedHook",
            "Support",
            "report_alternatives",
        ),
        "hook_choice": ("hooks_of",),
        "output_choice": ("output_of",),
        "plan": ("Plan", "make_plan"),
    },
)
