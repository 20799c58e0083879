"""Probes of single system calls, which cost the other calls of the machine next to nothing.

The planner replaces each by one probe for each call (:mod:`pytracer.plan.call_probes`).
"""

from __future__ import annotations

from pytracer.record import record, replace
from pytracer.spec.hooks import Alternative, Hook, Probe, RawTracepoint

CALLS_OPTION = "calls"
"""The name of the option that names system calls (:data:`~pytracer.spec.common.ONLY_CALLS`)."""
_EVENTS = {"sys_enter": False, "sys_exit": True}


@record
class CallProbe(Probe):
    """The begin of some system calls, or (``at_return``) their return: of ``calls`` by name, and if there are
    none, of those that the option ``calls`` names."""

    calls: tuple[str, ...] = ()
    at_return: bool = False

    @property
    def target(self) -> str:
        """See :class:`Probe`."""
        return ", ".join(self.calls)


@record
class CallFunction(CallProbe):
    """The kernel's functions of the calls, by trampolines. Calls that seccomp or ptrace answers do not reach
    them."""

    @property
    def kind(self) -> str:
        """See :class:`Probe`."""
        return "fexit" if self.at_return else "fentry"


@record
class CallTracepoint(CallProbe):
    """The trace events of the calls, which 32-bit programs do not raise."""

    @property
    def kind(self) -> str:
        """See :class:`Probe`."""
        return "tracepoint"


def call_tracepoints(*probes: Probe, without: tuple[str, ...] = ()) -> Alternative:
    """Return the alternative of a hook that goes by the trace events of single calls.

    Its program ``compat_executed`` (probes_c/include/syscall.h) counts the programs that do not raise them.
    """
    executed = RawTracepoint("compat_executed", event="sched_process_exec")
    return Alternative("call-tracepoints", (*probes, executed), without=without)


def by_call(hook: Hook, *calls: str, function: str, without: tuple[str, ...] = ()) -> Hook:
    """Return a hook of all system calls with two more alternatives, preferred ones, for some calls.

    ``calls`` are their names; if there are none, the option ``calls`` names them. ``function`` is the name
    of the first alternative. The hooks ``without`` are not needed with either. The programs are those that
    the hook has at sys_enter and sys_exit.
    """

    def of(kind: type[CallProbe]) -> tuple[Probe, ...]:
        return tuple(
            kind(probe.program, calls=calls, at_return=_EVENTS[probe.event])
            if isinstance(probe, RawTracepoint) and probe.event in _EVENTS
            else probe
            for probe in hook.alternatives[0].probes
        )

    by_function = Alternative(function, of(CallFunction), without=without)
    by_event = call_tracepoints(*of(CallTracepoint), without=without)
    return replace(hook, alternatives=(by_function, by_event, *hook.alternatives))


def needs_names(alternative: Alternative) -> bool:
    """Return whether an alternative is for calls that the user names."""
    return any(isinstance(probe, CallProbe) and not probe.calls for probe in alternative.probes)
