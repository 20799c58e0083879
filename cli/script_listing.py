"""``pytracer script -l`` and ``--info``: list probes, and the kernel's features."""

from __future__ import annotations

import fnmatch
import platform
from collections.abc import Iterator, Sequence

from pytracer.cli.output import one_line
from pytracer.errors import PytracerError, UsageError
from pytracer.features.kernel_facts import RunningKernel
from pytracer.kernel import tracefs
from pytracer.kernel.facts import KernelInfo, NamedTarget
from pytracer.lang.scope import Value
from pytracer.lang.script import Script
from pytracer.lang.script.parser import split_point
from pytracer.lang.script.syntax import AttachPoint
from pytracer.lang.types import ArrayType, StructType, c_type
from pytracer.plan.btf_types import BtfTypes
from pytracer.plan.scopes import scope_of
from pytracer.plan.script_files import with_files
from pytracer.plan.script_probes import EVENTS, SOURCES, SampledProbe, parse_attach_point
from pytracer.plan.scripts import attach_points
from pytracer.record import replace
from pytracer.request import Request
from pytracer.spec import HAPPENINGS, Source, parse_source

_FIXED = {
    "interval": ("hz:", "us:", "ms:", "s:"),
    "profile": ("hz:", "us:", "ms:", "s:"),
    "iter": ("task", "task_file", "task_vma"),
    "self": ("signal:SIGUSR1", "signal:SIGUSR2"),
    "software": tuple(f"{name}:" for name, event in EVENTS.items() if event in (*HAPPENINGS, "cpu-clock")),
    "hardware": tuple(
        f"{name}:" for name, event in EVENTS.items() if event not in (*HAPPENINGS, "cpu-clock")
    ),
    "begin": (),
    "end": (),
}
"""Providers with the same probes everywhere."""
_LISTED = {
    "kprobe": "k",
    "kretprobe": "kr",
    "fentry": "f",
    "fexit": "fr",
    "tracepoint": "t",
    "rawtracepoint": "rt",
}
"""Providers whose probes are found by a pattern alone."""
_OF_PROGRAMS = {"uprobe": "u", "uretprobe": "ur", "usdt": "usdt"}
_NAMES = {**{kind: name for name, kind in (_LISTED | _OF_PROGRAMS).items()}}
_MODULES = {"f": "vmlinux:", "fr": "vmlinux:", "rt": "vmlinux:"}


def list_patterns(patterns: str, process: int, *, verbose: bool) -> Iterator[str]:
    """Yield the probes that match patterns with commas between, and the members of ``struct NAME``.
    ``process`` is the one whose files are searched (0: none)."""
    facts = RunningKernel()
    for pattern in patterns.split(","):
        words = pattern.strip().split()
        if len(words) == 2 and words[0] in ("struct", "union", "enum"):
            yield from _members(words[0], words[1], facts)
            continue
        provider, colon, name_pattern = pattern.strip().partition(":")
        if not colon and "*" in provider:
            provider, name_pattern = "*", f"*{provider}" if process else provider
        matched = [name for name in (*_LISTED, *_OF_PROGRAMS, *_FIXED) if _matches(name, provider)]
        if not matched:
            raise UsageError(
                f"no probe matches {pattern!r}", hint="as in 'tracepoint:sched:*', or 'struct sock'"
            )
        for name in matched:
            is_exact = len(matched) == 1 and "*" not in provider
            if name in _OF_PROGRAMS:
                yield from _of_programs(
                    name, name_pattern or "*", facts, process, verbose=verbose, is_exact=is_exact
                )
            else:
                yield from _of_provider(name, name_pattern or "*", facts, verbose=verbose, is_exact=is_exact)


def list_script(request: Request, *, verbose: bool) -> Iterator[str]:
    """Yield the probes that a script would attach to."""
    facts = RunningKernel()
    assert request.script is not None
    script: Script = request.script.script
    for block in script.probes:
        for point, is_one_of_several in attach_points(script, block, request):
            try:
                yield from _of_point(script.text, point, facts, request.process, verbose=verbose)
            except UsageError:
                if not is_one_of_several:
                    raise


def _matches(name: str, provider: str) -> bool:
    short_names = {"h": "hardware", "i": "interval", "p": "profile", "s": "software", "it": "iter"}
    of_source = _NAMES.get(SOURCES.get(provider, ""), provider)
    return fnmatch.fnmatchcase(name, short_names.get(provider, of_source))


def _of_provider(
    name: str, name_pattern: str, facts: KernelInfo, *, verbose: bool, is_exact: bool
) -> Iterator[str]:
    if name in _FIXED:
        probes = [f"{name}:{end}" for end in _FIXED[name]] or [name]
        yield from (
            probe
            for probe in probes
            if name_pattern == "*" or fnmatch.fnmatchcase(probe, f"{name}:{name_pattern}*")
        )
        return
    try:
        target = (
            name_pattern if name == "tracepoint" and ":" in name_pattern else name_pattern.rpartition(":")[2]
        )
        source = parse_source(
            f"{_LISTED[name]}:{target if name != 'tracepoint' or ':' in target else f'*:{target}'}"
        )
        yield from _of_source(source, facts, verbose=verbose)
    except PytracerError:
        if is_exact:
            raise


def _of_programs(
    name: str, name_pattern: str, facts: KernelInfo, process: int, *, verbose: bool, is_exact: bool
) -> Iterator[str]:
    """Yield the probes of a program: of the files that a pattern or a process names."""
    if ":" not in name_pattern and not process:
        if is_exact:
            raise UsageError(f"{name}:{name_pattern} names no program", hint=f"{name}:FILE:*, or -p PID")
        return
    text = f"{name}:{name_pattern if ':' in name_pattern else f'*:{name_pattern}'}"
    point = AttachPoint(0, len(text), text, tuple(split_point(text)))
    points = with_files(point, process)
    for probe_point in points:
        try:
            yield from _of_point(text, probe_point, facts, process, verbose=verbose)
        except PytracerError:
            if is_exact and len(points) == 1:
                raise


def _of_point(
    text: str, point: AttachPoint, facts: KernelInfo, process: int, *, verbose: bool
) -> Iterator[str]:
    source = parse_attach_point(text, point, "")
    if isinstance(source, SampledProbe):
        provider, *name_parts = source.name.split(":")
        is_counter = provider in ("interval", "profile", "software", "hardware")
        yield ":".join((provider, *name_parts[:-1], "")) if is_counter else source.name
        return
    if source.kind in _OF_PROGRAMS.values():
        source = replace(source, process=process)
    yield from _of_source(source, facts, verbose=verbose)


def _of_source(source: Source, facts: KernelInfo, *, verbose: bool) -> Iterator[str]:
    for target in facts.find(source).targets:
        yield one_line(f"{_NAMES[source.kind]}:{_MODULES.get(source.kind, '')}{_place(source, target)}")
        if verbose:
            yield from (f"    {one_line(argument)}" for argument in _arguments(source, target, facts))


def _place(source: Source, target: NamedTarget) -> str:
    if source.kind not in ("u", "ur", "usdt") or not target.sites:
        return target.name
    if source.kind == "usdt":
        return f"{target.sites[0].file}:{target.sites[0].name}"
    return f"{target.sites[0].file}:{target.name.removeprefix(f'{source.place}:')}"


def _arguments(source: Source, target: NamedTarget, facts: KernelInfo) -> Sequence[str]:
    if source.kind == "t":
        return tracefs.fields(target.name)
    if source.kind == "usdt":
        return ()
    scope = scope_of(source, target, facts)
    entry = scope.entry or scope
    show = c_type if source.kind in ("u", "ur") else lambda kind: kind.text
    return [f"{show(value.type)} {name}" for name, value in entry.named.items() if isinstance(value, Value)]


def _members(kind: str, name: str, facts: KernelInfo) -> Iterator[str]:
    types = facts.types
    provider = None if types is None else BtfTypes(types)
    type_id = None if provider is None else provider.find(kind, name)
    if provider is None or type_id is None:
        raise UsageError(f"this kernel has no {kind} {name}")
    yield f"vmlinux: {kind} {name} {{"
    if isinstance(type_id, StructType):
        for member, field in provider.members(type_id).items():
            element = field.type.of if isinstance(field.type, ArrayType) else field.type
            length = f"[{field.type.length}]" if isinstance(field.type, ArrayType) else ""
            yield f"        {element.text} {member}{length}{f':{field.bits}' if field.bits else ''};"
    else:
        for value, label in provider.enum_names(name).items():
            yield f"        {label} = {value},"
    yield "};"


def info() -> Iterator[str]:
    """Yield the kernel's features, in groups of ``name: yes`` or ``no``."""
    from pytracer import __version__, doctor
    from pytracer.features import feature_table

    yield from (
        "System",
        f"  OS: {platform.system()} {platform.release()}",
        f"  Arch: {platform.machine()}",
        "",
    )
    yield from ("Build", f"  version: {__version__}", "")
    groups = {
        "helper": "Kernel helpers",
        "map": "Map types",
        "program": "Program types",
        "hook": "Probe types",
    }
    results = doctor.examine().features
    for group, title in groups.items():
        yield title
        for result in results:
            if result.feature.kind == group:
                name = result.feature.name.replace(".", "_").replace(" ", "_")
                yield f"  {name}: {'yes' if result.status == feature_table.GRANTED else 'no'}"
        if group == "hook":
            yield "  kprobe_session: no"
        yield ""
