"""Find the words that fit at a place of a command line, by the declarations and by what anyone may know here.

No privileges are needed: functions and raw tracepoints come from BTF, trace events from tracefs where it can
be read.
"""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from pytracer.cli import parser
from pytracer.errors import PytracerError
from pytracer.spec import (
    SPELLINGS,
    GroupBy,
    Injection,
    NameSet,
    ProbeSpecArguments,
    Targets,
    Tracer,
    registry,
)

Candidate = tuple[str, str]
"""A word, and what it means."""

FILES, COMMANDS = ":files", ":commands"
"""Words that stand for what a shell completes by itself."""
_FUNCTIONS = ("k", "kr", "f", "fr")
_FILE_OPTIONS = ("--output", "--profile", "--enforce")
_CGROUPS = Path("/sys/fs/cgroup")


def candidates(words: Sequence[str], commands: dict[str, str]) -> Iterator[Candidate]:
    """Yield the candidates for the last of ``words``, which may be empty; the others stand before it.

    ``commands`` are the subcommands with their help.
    """
    *before, current = words or [""]
    if "--" in before:
        yield COMMANDS, ""
        return
    with contextlib.suppress(PytracerError, OSError):  # where nothing is known, nothing is offered
        found = _tracers(commands) if not before else _after(before, current, commands)
        yield from (one for one in found if one[0].startswith((current, ":")))


def _tracers(commands: dict[str, str]) -> Iterator[Candidate]:
    yield from commands.items()
    for name in registry.names():
        with contextlib.suppress(PytracerError):  # a broken file of somebody's
            yield name, registry.get(name).summary


def _after(before: list[str], current: str, commands: dict[str, str]) -> Iterable[Candidate]:
    name = before[0]
    if name in commands:
        if name in ("explain", "schema", "man") and len(before) == 1:
            return _tracers({})
        if name == "completion":
            return [(shell, "") for shell in ("bash", "zsh", "fish")]
        return _targets(current) if name == "list-probes" else [(FILES, "")]
    tracer = registry.get(name)
    actions = {option: action for action in parser.build(tracer)._actions for option in action.option_strings}
    if current.startswith("-"):
        return _options(actions)
    previous = actions.get(before[-1]) if len(before) > 1 else None
    if previous is not None and previous.nargs is None:
        return _values(tracer, previous, current)
    return _arguments(tracer, current)


def _options(actions: dict[str, argparse.Action]) -> Iterator[Candidate]:
    yield "--", "the command to run"
    for option, action in actions.items():
        if option.startswith("--") and action.help != argparse.SUPPRESS:
            yield option, action.help or ""


def _values(tracer: Tracer, action: argparse.Action, current: str) -> Iterable[Candidate]:
    option = action.option_strings[-1]
    if action.choices is not None:
        return [(str(choice), "") for choice in action.choices]
    if option in _FILE_OPTIONS:
        return [(FILES, "")]
    if option == "-c":
        return [(COMMANDS, "")]
    if option == "--sort":
        return [
            (column.name, column.help) for output in tracer.outputs for column in parser.columns_of(output)
        ]
    if option == "--hook":
        ways = ((hook.name, way.name) for hook in tracer.hooks for way in hook.alternatives)
        return [(f"{hook}={way}", "") for hook, way in ways]
    if option in _NAMES:
        return _NAMES[option]()
    own = next((one for one in tracer.options if f"--{one.name}" == option), None)
    if isinstance(own, GroupBy):
        return _list_of(((key.name, key.columns[0].help) for key in own.keys), current)
    if isinstance(own, NameSet):
        return _list_of(_names(own), current)
    return []


def _names(option: NameSet) -> Iterable[Candidate]:
    if option.encode != "syscalls":
        return [(name, "") for name in option.names]
    from pytracer.kernel.syscalls import all_names

    return [(name, "") for name in all_names()]


def _list_of(found: Iterable[Candidate], current: str) -> Iterator[Candidate]:
    """Complete the last of names with commas between them; ``!`` before the first excludes them all."""
    head, comma, _ = current.rpartition(",")
    head += comma
    if not head and current.startswith("!"):
        head = "!"
    given = head.removeprefix("!").split(",")
    yield from ((head + name, text) for name, text in found if name not in given)


def _arguments(tracer: Tracer, current: str) -> Iterable[Candidate]:
    asked = tracer.arguments
    if isinstance(asked, (Targets, ProbeSpecArguments)):
        return _targets(current)
    if isinstance(asked, Injection):
        return [(name, "") for name in _functions()]
    if asked is not None and asked.encode == "interfaces":
        return [(name, "") for name in sorted(os.listdir("/sys/class/net"))]  # noqa: PTH208
    return []


def _targets(current: str) -> Iterator[Candidate]:
    kind, colon, _ = current.partition(":")
    if not colon:
        yield from ((f"{name}:", spelling.example) for name, spelling in SPELLINGS.items())
    elif kind in _FUNCTIONS:
        yield from ((f"{kind}:{name}", "") for name in _functions())
    elif kind == "rt":
        yield from ((f"rt:{name}", "") for name in _raw_tracepoints())
    elif kind == "t":
        from pytracer.kernel import tracefs

        yield from ((f"t:{name}", "") for name in sorted(tracefs.events()))


def _functions() -> list[str]:
    from pytracer.kernel.btf import Btf
    from pytracer.kernel.btf_format import BtfKind

    return sorted(Btf.load().names(BtfKind.FUNC))


def _raw_tracepoints() -> list[str]:
    from pytracer.kernel.btf import Btf
    from pytracer.kernel.btf_format import BtfKind

    prefix = "btf_trace_"
    return sorted(n.removeprefix(prefix) for n in Btf.load().names(BtfKind.TYPEDEF) if n.startswith(prefix))


def _pids() -> Iterator[Candidate]:
    for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdecimal()):  # noqa: PTH208
        yield str(pid), _comm(Path(f"/proc/{pid}/comm"))


def _tids() -> Iterator[Candidate]:
    for task in Path("/proc").glob("[0-9]*/task/*"):
        yield task.name, _comm(task / "comm")


def _comm(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text(errors="replace").rstrip("\n")
    return ""


def _comms() -> Iterator[Candidate]:
    yield from ((name, "") for name in sorted({name for _, name in _pids()}))


def _users() -> Iterator[Candidate]:
    import pwd

    yield from ((user.pw_name, str(user.pw_uid)) for user in pwd.getpwall())


def _cgroups() -> Iterator[Candidate]:
    for folder, names, _ in os.walk(_CGROUPS):
        yield from ((os.path.join(folder, name), "") for name in names)  # noqa: PTH118


def _network_namespaces() -> Iterator[Candidate]:
    with contextlib.suppress(OSError):
        yield from ((name, "") for name in sorted(os.listdir("/run/netns")))  # noqa: PTH208
    yield from _pids()


_NAMES: dict[str, Callable[[], Iterable[Candidate]]] = {
    "--pid": _pids,
    "--tid": _tids,
    "--comm": _comms,
    "--uid": _users,
    "--cgroup": _cgroups,
    "--netns": _network_namespaces,
    "--mntns": _pids,
}
"""Candidates for the values of options that name tasks."""
