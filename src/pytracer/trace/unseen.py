"""Explain why nothing was seen of a target in a program."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pytracer.plan import Plan
from pytracer.spec import Flag, NameSet, Number, UserProbe
from pytracer.spec.quoting import quote
from pytracer.symbols import memory_maps
from pytracer.text import from_path, harmless

_FILES = 4  # that are named
_PROCESSES = 16  # that are looked at


def reasons(plan: Plan, processes: Iterable[int]) -> Iterator[str]:
    """Yield messages for a trace that saw nothing; ``processes`` are those that were traced and still run."""
    if plan.files:
        files = ", ".join(harmless(file) for file in plan.files[:_FILES])
        pid, path = _find_replaced_file(plan, processes)
        advice = "should a program run another file, give its path"
        if path:
            advice = f"process {pid} has mapped {quote(path)} instead: give that path"
        yield f"nothing was seen in {files}; {advice}"
    if plan.request.follows:
        roots = plan.request.roots
        named = f"process{'es' * (len(roots) > 1)} {', '.join(map(str, roots[:_FILES]))}"
        name = named if roots else harmless(plan.request.command[0])
        hidden = (
            f", or {restrictions} left out all of it" if (restrictions := _list_restrictions(plan)) else ""
        )
        advice = "" if roots else "; --load shows all that happens while it runs"
        whose = "their" if len(roots) > 1 else "its"
        yield f"nothing was seen of {name} and {whose} descendants{hidden}{advice}"


def _list_restrictions(plan: Plan) -> str:
    """Return the given options and filters that may leave out events."""
    request = plan.request
    conditions = {output.when for output in request.tracer.outputs}
    restrictions = [f"--{task_filter.value}" for task_filter in request.filters]
    for option in request.tracer.options:
        value = request.options.get(option.name)
        is_flag = isinstance(option, Flag) and bool(value and option.define) and option.name not in conditions
        is_limit = isinstance(option, Number) and bool(option.config) and value is not None
        is_set = isinstance(option, NameSet) and value is not None
        if is_flag or is_limit or is_set:
            restrictions.append(f"--{option.name}")
    return " or ".join(restrictions)


def _find_replaced_file(plan: Plan, processes: Iterable[int]) -> tuple[int, str]:
    """Find a process that has mapped another file with the name of a probed one. Returns its id and that
    path; "" if none has, or if any process has mapped a probed file."""
    probes = (chosen_probe.probe for chosen_probe in plan.probes)
    sites = [site for probe in probes if isinstance(probe, UserProbe) for site in probe.sites]
    probed = {site.identity[:2] for site in sites}
    names = {_strip_version(from_path(site.file.rpartition("/")[2])) for site in sites}
    instead = 0, ""
    for pid in list(processes)[:_PROCESSES]:
        for mapping in memory_maps.parse(memory_maps.read(pid)):
            if not mapping.inode or _strip_version(mapping.name) not in names:
                continue
            handle = memory_maps.find_file(pid, mapping)
            if handle is None:
                continue
            with handle:
                if (handle.stat.st_dev, handle.stat.st_ino) in probed:
                    return 0, ""
            instead = pid, from_path(mapping.path)
    return instead


def _strip_version(name: str) -> str:
    """Return the name of a library without its version."""
    return name.partition(".so")[0]
