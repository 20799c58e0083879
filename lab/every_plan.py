"""Plan each alternative of each hook of every tracer at least once, for a kernel described by facts."""

from __future__ import annotations

from collections.abc import Container, Iterator
from functools import cache

from pytracer.bpf.compile.remote import CompileRequest
from pytracer.bpf.compile.source import read_source
from pytracer.cli.pack import request_of
from pytracer.errors import UnsupportedError
from pytracer.kernel.btf import Btf
from pytracer.kernel.btf_facts import BtfKernelInfo
from pytracer.kernel.facts import Support
from pytracer.plan import Plan, hooks_of, make_plan
from pytracer.record import replace
from pytracer.request import Request
from pytracer.spec import Injection, Probe, ProbeSpecArguments, Targets, Tracepoint, Tracer, registry
from pytracer.spec.calls import needs_names


class FactsKernelInfo(BtfKernelInfo):
    """A kernel by its BTF, and by the trace events that it lacks of those whose format the C reads."""

    def __init__(self, btf: Btf, missing_events: Container[str]) -> None:
        super().__init__(btf, runs_compat=True)
        self._missing_events = missing_events

    def probe(self, probe: Probe) -> Support:
        """See :class:`~pytracer.kernel.facts.KernelInfo`."""
        if not isinstance(probe, Tracepoint):
            return super().probe(probe)
        exists = f"{probe.category}/{probe.event}" not in self._missing_events
        return Support(exists, probe.target, reason="" if exists else f"no trace event {probe.target}")


def compile_requests(kernel: str, btf: Btf, missing_events: Container[str]) -> Iterator[CompileRequest]:
    """Yield the compile requests for the kernel of that identity, each shape of a program once. The kernel
    lacks some trace events (category/event).

    Left out are tracers whose C is written for each run (``trace``), and what no kernel here can attach.
    """
    info, requests = FactsKernelInfo(btf, missing_events), set[CompileRequest]()
    for tracer in registry.all_tracers():
        if isinstance(tracer.arguments, ProbeSpecArguments | Injection):
            continue
        text = _text(tracer.c_file)
        for plan, programs in _plans(tracer, info):
            # Of macros that the C does not name, every value gives the same image.
            flags = tuple(f for f in plan.cflags if f.removeprefix("-D").partition("=")[0] in text)
            request = CompileRequest(kernel, "", tracer.c_file, text, flags, programs, ())
            if request not in requests:
                requests.add(request)
                yield request


@cache
def _text(name: str) -> str:
    return read_source(name)


def _plans(tracer: Tracer, info: FactsKernelInfo) -> Iterator[tuple[Plan, tuple[str, ...]]]:
    """Yield the plans of a tracer, with its programs: the default one, one for each alternative, and one with
    a command to follow."""
    arguments = tracer.arguments if isinstance(tracer.arguments, Targets) else None
    line = f"{tracer.name} vfs_read" if arguments else tracer.name
    # What is attached to is found where it runs; the programs are the same for all of it.
    request = replace(request_of(line), sources=())
    requests = [replace(request, hooks=hooks) for hooks in _alternatives(request)]
    requests += [replace(request_of(f"{line} -- true"), sources=())] if tracer.follow else []
    for current_request in requests:
        try:
            plan = make_plan(current_request, info)
        except UnsupportedError:
            continue
        programs = [chosen_probe.probe.program for chosen_probe in plan.probes]
        programs += tracer.arguments.functions if tracer.arguments else ()
        yield plan, tuple(dict.fromkeys(programs))


def _alternatives(request: Request) -> Iterator[dict[str, str]]:
    """Yield every alternative of every hook at least once, those of one name together; an empty choice if
    there are none."""
    hooks = hooks_of(request)
    all_alternatives = (alternative for hook in hooks for alternative in hook.alternatives)
    for name in dict.fromkeys(
        alternative.name for alternative in all_alternatives if not needs_names(alternative)
    ):
        yield {
            hook.name: name
            for hook in hooks
            if name in [alternative.name for alternative in hook.alternatives]
        }
    if not hooks:
        yield {}
