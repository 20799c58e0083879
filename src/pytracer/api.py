"""The Python API: ``pytracer.open``.

    with pytracer.open("execsnoop", uid="www-data") as trace:
        for item in trace:
            ...

It takes what the command line takes, as Python values under the same names, and yields what a sink would get.
"""

from __future__ import annotations

import asyncio
import os
import warnings
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import IO

from pytracer.errors import UnknownOptionError, UsageError, suggest_near
from pytracer.features.kernel_facts import RunningKernel
from pytracer.model import Item
from pytracer.request import build_request
from pytracer.spec import Filter, Option, SeccompProfile, Tracer, registry
from pytracer.spec.script import SCRIPT
from pytracer.trace.loop import TraceLoop

HasFileno = int | IO[bytes] | IO[str]
"""A file, or its descriptor."""
FilterValue = str | int | os.PathLike[str]
"""The value of a filter: a process id, a user's name or number, a path, ..."""
_COMMAND_LINE = (
    "format",
    "output",
    "live",
    "timestamp",
    "wide",
    "csv_raw",
    "strict",
    "dry_run",
    "emit_c",
    "verbose",
    "debug",
)
"""Options of the command line that the API has no use for: what they print, a program does itself."""
_FILTERS = {which.value: which for which in Filter}


class Trace(TraceLoop):
    """A running trace: iterate over it for its items, with ``for`` or ``async for``, and close it.

    ``schema`` describes the columns, ``lost`` counts what was lost so far, ``status`` is the exit status of
    the command. ``stop()`` ends the iteration, from any thread.
    """

    async def __aiter__(self) -> AsyncIterator[Item]:
        """Yield the same items; a thread waits for them."""
        items = iter(self)
        while True:
            step = asyncio.ensure_future(asyncio.to_thread(next, items, None))
            try:
                item = await asyncio.shield(step)
            except asyncio.CancelledError:  # nothing may be closed before the thread is out
                self.stop()
                await asyncio.wait([step])
                raise
            if item is None:
                return
            yield item


def list_tracers() -> tuple[Tracer, ...]:
    """Return the declarations of all tracers, by name: built in, from entry points, from PYTRACER_PATH.

    Tracers that cannot be loaded are left out, with a warning.
    """
    return tuple(registry.all_tracers(lambda error: warnings.warn(str(error), stacklevel=2)))


def open(
    tracer: str | Tracer,
    *arguments: str,
    interval: float | None = None,
    count: int | None = None,
    duration: float | None = None,
    command: Sequence[str] = (),
    load: bool = False,
    wait_all: bool = False,
    children: bool = False,
    audit: bool = False,
    container: str | Iterable[str] = (),
    top: int | None = None,
    sort: str | None = None,
    max_rows: int | None = None,
    max_probes: int | None = None,
    buffer: int | str | None = None,
    hook: Mapping[str, str] | None = None,
    headers: str | None = None,
    stdout: HasFileno | None = None,
    stderr: HasFileno | None = None,
    warn: Callable[[str], None] | None = None,
    **options: object,
) -> Trace:
    """Start a trace; its programs are attached when this returns. Use it as a context manager.

    Args:
        tracer: a name, or a declaration from :func:`list_tracers`.
        arguments: positional arguments of the tracer: ``open("sockcount", "lo")``.
        interval, duration: seconds. count: intervals.
        command: the words of a command to run. It alone is traced, with its descendants, unless processes,
            cgroups, containers or namespaces are named, or ``load`` is true.
        stdout, stderr: files (or descriptors) for the command to write to; by default it writes to this
            process's own.
        wait_all: go on until the command's descendants have ended.
        children: trace the descendants of the processes in ``pid``, too.
        audit: compare the results with what the kernel counts by itself: the last item is an AuditResult.
        container: names or ids of containers.
        top, sort: rows to show, and the column that ranks them.
        max_rows: map capacity. buffer: size of the ring: bytes, or text such as ``"8M"``.
        max_probes: attach targets, at most.
        hook: alternatives to use, by hook: ``{"syscall": "kprobe"}``.
        headers: source of kernel types: ``"btf"``, ``"package"`` or ``"kheaders"``.
        warn: is called with each warning; by default nobody is.
        options: filters (``pid=1``, ``uid=["www-data", 0]``, ``comm``, ``tid``, ``cgroup``, ``netns``,
            ``mntns``) and the tracer's own options, with ``_`` for ``-``: ``latency=True``,
            ``by=["pid", "syscall"]``, ``min="10ms"``.

    Raises:
        UnknownNameError: there is no such tracer, user, process, ...
        UnknownOptionError: the tracer has no such option; also a TypeError.
        UsageError: a value makes no sense.
        UnsupportedError, NotPermittedError, ...: see :mod:`pytracer.errors`.
    """
    declared = registry.get(tracer) if isinstance(tracer, str) else tracer
    exports: dict[str, object] = {}
    filters: dict[Filter, list[FilterValue]] = {}
    declared_options = {option.name.replace("-", "_"): option for option in declared.options}
    for name, value in options.items():
        if name in declared_options:
            exports[declared_options[name].name] = _convert_value(declared_options[name], value)
        elif name in _FILTERS and _FILTERS[name] in declared.filters:
            filters[_FILTERS[name]] = _list_values(name, value)
        elif name in (*_COMMAND_LINE, "help"):
            raise UnknownOptionError(f"{name} is an option of the command line alone")
        else:
            names = (
                *declared_options,
                *(filter_.value for filter_ in declared.filters),
                *(open.__kwdefaults__ or ()),
            )
            raise UnknownOptionError(
                f"open({declared.name!r}) has no option {name!r}",
                hint=suggest_near(name, names)
                or f"its options: {', '.join(sorted(declared_options)) or 'none'}",
            )
    request = build_request(
        declared,
        [str(word) for word in arguments],
        options=exports,
        filters=filters,
        containers=[container] if isinstance(container, str) else container,
        command=[command] if isinstance(command, str) else command,
        load=load,
        wait_all=wait_all,
        children=children,
        audit=audit,
        interval=interval,
        count=count,
        duration=declared.duration if duration is None else duration,
        top=top,
        sort=sort or "",
        max_rows=max_rows,
        max_probes=max_probes,
        buffer=buffer,
        hooks=_parse_hooks(hook),
        headers=headers or "",
        spell=lambda name: name.replace("-", "_"),
    )
    return Trace(request, RunningKernel, warn=warn, output=(_fileno_of(stdout), _fileno_of(stderr)))


def script(text: str, *parameters: str, unsafe: bool = False, **options: object) -> Trace:
    """Start a script in the language of bpftrace (docs/script.md). Use the trace as a context manager.

    Args:
        text: the script.
        parameters: the values of ``$1``, ``$2``, ...
        unsafe: allow functions that change what is traced or run commands.
        options: those of :func:`open`, such as ``command`` and ``pid``.

    Returns:
        a trace that yields a Batch for what the script prints: its columns are ``type``, as in bpftrace's
        JSON, and ``data``.

    Raises:
        ProbeSpecError: the script is wrong; the error points into it. Else the errors of :func:`open`.
    """
    return open(SCRIPT, text, *parameters, unsafe=unsafe, **options)  # type: ignore[arg-type]


def _parse_hooks(hook: Mapping[str, str] | None) -> Mapping[str, str]:
    """Return the alternatives to use; raise UsageError for text, as the command line takes it."""
    if hook is not None and not isinstance(hook, Mapping):
        raise UsageError(f"hook takes a dictionary, not {hook!r}", hint='as in hook={"syscall": "kprobe"}')
    return hook or {}


def _fileno_of(file: HasFileno | None) -> int | None:
    return file if file is None or isinstance(file, int) else file.fileno()


def _convert_value(option: Option, value: object) -> object:
    """Return an option's value as requests have it: a seccomp profile is read from its file."""
    if isinstance(option, SeccompProfile) and value is not None:
        from pytracer.seccomp import confinement

        return confinement(os.fspath(value) if isinstance(value, (str, os.PathLike)) else str(value))
    return value


def _list_values(name: str, value: object) -> list[FilterValue]:
    """Return the values of a filter, of which there may be one or several."""
    if value is None:
        return []
    values = [value] if isinstance(value, (str, int, os.PathLike)) else value
    if not isinstance(values, Iterable):
        raise UsageError(f"{name} takes a value or several, not {value!r}")
    several = list[FilterValue]()
    for item in values:
        if isinstance(item, bool) or not isinstance(item, (str, int, os.PathLike)):
            raise UsageError(f"{name} takes names, numbers or paths, not {item!r}")
        several.append(item)
    return several
