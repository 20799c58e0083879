"""Check before anything starts that this process may run a request."""

from __future__ import annotations

from pytracer.errors import UnsupportedError
from pytracer.kernel.policy import TRACING, in_initial_namespace, require_capabilities
from pytracer.plan.fault_injection import asks_for_filter
from pytracer.request import Request
from pytracer.spec import Filter


def check_request(request: Request) -> None:
    """Check a request before anything is started.

    Raises NotPermittedError that names what is missing; UnsupportedError if the kernel knows processes by
    other ids than this PID namespace.
    """
    if asks_for_filter(request):
        return
    _check_permissions(request)
    _check_process_ids(request)


def _check_permissions(request: Request) -> None:
    """Raise NotPermittedError that names the missing capabilities."""
    probes = [
        p for hook in request.tracer.hooks for alternative in hook.alternatives for p in alternative.probes
    ]
    capabilities = dict.fromkeys(name for probe in probes for name in probe.needs)
    require_capabilities(capabilities or TRACING, f"pytracer {request.tracer.name}")


def _check_process_ids(request: Request) -> None:
    """Raise UnsupportedError if the kernel knows processes by other ids than this PID namespace."""
    named = request.follows or Filter.PID in request.filters or Filter.TID in request.filters
    if named and in_initial_namespace("pid") is False:
        raise UnsupportedError(
            "this is a PID namespace of its own: the kernel knows its processes by other numbers",
            hint="run it in the host's (docker run --pid=host), or filter by --cgroup, --mntns or --comm",
        )
