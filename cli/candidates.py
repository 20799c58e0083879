"""Find the words that can complete a command line, from the declarations and the state of this machine.

No privileges are needed: functions and raw tracepoints come from BTF; trace events from tracefs or, where it
cannot be read, from a list of known ones (``scripts/record --events``) as far as BTF has them.
"""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import resources
from pathlib import Path

from pytracer.cli import tracer_parser
from pytracer.errors import PytracerError
from pytracer.kernel import syscalls
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
from pytracer.spec.permission_checks import CHECKS

Candidate = tuple[str, str]
"""A word and its description."""

FILES, COMMANDS = ":files", ":commands"
"""Placeholders for files and commands, which the shell completes by itself."""
_FUNCTIONS = ("k", "kr", "f", "fr")
_LETTERS = 3  # of a function without its kind, before the tens of thousands of them are searched
_EVENTS = "trace_events.txt"
_FILE_OPTIONS = ("--output", "--profile", "--enforce")
_CGROUPS = Path("/sys/fs/cgroup")


def candidates(words: Sequence[str], commands: dict[str, str]) -> Iterator[Candidate]:
    """Yield the candidates for the last of ``words``, which may be empty.

    ``commands`` are the subcommands with their help.
    """
    *previous_words, current = words or [""]
    if "--" in previous_words:
        yield COMMANDS, ""
        return
    with contextlib.suppress(PytracerError, OSError):  # without facts there are no candidates
        all_candidates = (
            _list_tracers(commands)
            if not previous_words
            else _complete_arguments(previous_words, current, commands)
        )
        yield from (candidate for candidate in all_candidates if candidate[0].startswith((current, ":")))


def _list_tracers(commands: dict[str, str]) -> Iterator[Candidate]:
    yield from commands.items()
    # A third-party tracer with an error is left out.
    yield from ((tracer.name, tracer.summary) for tracer in registry.summaries(lambda _: None))


def _complete_arguments(
    previous_words: list[str], current: str, commands: dict[str, str]
) -> Iterable[Candidate]:
    name = previous_words[0]
    if name in commands:
        if name in ("explain", "schema", "man") and len(previous_words) == 1:
            return _list_tracers({})
        if name == "serve":
            return _complete_serve(previous_words[-1], current)
        if name == "completion":
            return [(shell, "") for shell in ("bash", "zsh", "fish")]
        return _list_targets(current) if name == "list-probes" else [(FILES, "")]
    tracer = registry.get(name)
    actions = {
        option: action for action in tracer_parser.build(tracer)._actions for option in action.option_strings
    }
    if current.startswith("-"):
        return _list_options(actions)
    previous = actions.get(previous_words[-1]) if len(previous_words) > 1 else None
    if previous is not None and previous.nargs is None:
        return _list_values(tracer, previous, current)
    return _list_arguments(tracer, current)


def _complete_serve(previous_word: str, current: str) -> Iterable[Candidate]:
    if previous_word == "--web":
        return [("127.0.0.1:8080", "")]
    if current.startswith("-"):
        return [
            ("--web", "address and port of the page"),
            ("--allow-commands", "the page may start commands"),
        ]
    return _list_tracers({})


def _list_options(actions: dict[str, argparse.Action]) -> Iterator[Candidate]:
    yield "--", "a command to run and trace"
    for option, action in actions.items():
        if option.startswith("--") and action.help != argparse.SUPPRESS:
            yield option, action.help or ""


def _list_values(tracer: Tracer, action: argparse.Action, current: str) -> Iterable[Candidate]:
    option = action.option_strings[-1]
    if action.choices is not None:
        return [(str(choice), "") for choice in action.choices]
    if option in _FILE_OPTIONS:
        return [(FILES, "")]
    if option == "-c":
        return [(COMMANDS, "")]
    if option == "--sort":
        return [
            (column.name, column.help)
            for output in tracer.outputs
            for column in tracer_parser.columns_of(output)
        ]
    if option == "--hook":
        choices = (
            (hook.name, alternative.name) for hook in tracer.hooks for alternative in hook.alternatives
        )
        return [(f"{hook}={alternative}", "") for hook, alternative in choices]
    if option in _NAMES:
        return _NAMES[option]()
    declared = next(
        (declaration for declaration in tracer.options if f"--{declaration.name}" == option), None
    )
    if isinstance(declared, GroupBy):
        return _complete_list(((key.name, key.columns[0].help) for key in declared.keys), current)
    if isinstance(declared, NameSet):
        return _complete_list(_list_names(declared), current)
    return []


def _list_names(option: NameSet) -> Iterable[Candidate]:
    if option.encode != "syscalls":
        return [(name, "") for name in option.names]
    from pytracer.kernel.syscalls import all_names

    return [(name, "") for name in all_names()]


def _complete_list(names: Iterable[Candidate], current: str) -> Iterator[Candidate]:
    """Complete the last name of a comma-separated list, which may begin with ``!``."""
    head, comma, _ = current.rpartition(",")
    head += comma
    if not head and current.startswith("!"):
        head = "!"
    list_parts = head.removeprefix("!").split(",")
    yield from ((head + name, text) for name, text in names if name not in list_parts)


def _list_arguments(tracer: Tracer, current: str) -> Iterable[Candidate]:
    arguments = tracer.arguments
    if isinstance(arguments, (Targets, ProbeSpecArguments)):
        return _list_targets(current)
    if isinstance(arguments, Injection):
        checks = [(name, check.operations) for name, check in CHECKS.items()]
        calls = [(name, "a system call") for name in syscalls.all_names()]
        return [*checks, *calls, *((name, "") for name in _list_functions() if name not in CHECKS)]
    if arguments is not None and arguments.encode == "interfaces":
        return [(name, "") for name in sorted(os.listdir("/sys/class/net"))]  # noqa: PTH208
    return []


def _list_targets(current: str) -> Iterator[Candidate]:
    kind, colon, _ = current.partition(":")
    if not colon:
        yield from ((f"{name}:", spelling.example) for name, spelling in SPELLINGS.items())
        if len(current) >= _LETTERS:
            yield from ((name, "") for name in _list_functions())
    elif kind in _FUNCTIONS:
        yield from ((f"{kind}:{name}", "") for name in _list_functions())
    elif kind == "lsm":
        yield from ((f"lsm:{name}", "") for name in _list_security_hooks())
    elif kind == "rt":
        yield from ((f"rt:{name}", "") for name in _list_raw_tracepoints())
    elif kind == "t":
        yield from ((f"t:{name}", "") for name in _trace_events())


def _list_functions() -> list[str]:
    from pytracer.kernel.btf import Btf
    from pytracer.kernel.btf_format import BtfKind

    return sorted(Btf.load().names(BtfKind.FUNC))


def _list_security_hooks() -> list[str]:
    from pytracer.kernel.btf import Btf
    from pytracer.targets.security_hooks import hooks

    return hooks(Btf.load())


def _list_raw_tracepoints() -> list[str]:
    from pytracer.kernel.btf import Btf
    from pytracer.kernel.btf_format import BtfKind

    prefix = "btf_trace_"
    return sorted(n.removeprefix(prefix) for n in Btf.load().names(BtfKind.TYPEDEF) if n.startswith(prefix))


def _trace_events() -> list[str]:
    from pytracer.kernel import tracefs

    with contextlib.suppress(PytracerError):
        return tracefs.events()
    existing = set(_list_raw_tracepoints())
    lines = (resources.files("pytracer.cli") / _EVENTS).read_text().splitlines()
    listed = (line.partition(":")[::2] for line in lines)
    # BTF does not name those of system calls: one class each serves them all.
    return [
        f"{category}:{event}"
        for category, events in listed
        for event in events.split()
        if category == "syscalls" or event in existing
    ]


def _list_pids() -> Iterator[Candidate]:
    for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdecimal()):  # noqa: PTH208
        yield str(pid), _read_comm(Path(f"/proc/{pid}/comm"))


def _list_tids() -> Iterator[Candidate]:
    for task in Path("/proc").glob("[0-9]*/task/*"):
        yield task.name, _read_comm(task / "comm")


def _read_comm(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text(errors="replace").rstrip("\n")
    return ""


def _list_comms() -> Iterator[Candidate]:
    yield from ((name, "") for name in sorted({name for _, name in _list_pids()}))


def _list_users() -> Iterator[Candidate]:
    import pwd

    yield from ((user.pw_name, str(user.pw_uid)) for user in pwd.getpwall())


def _list_cgroups() -> Iterator[Candidate]:
    for folder, names, _ in os.walk(_CGROUPS):
        yield from ((os.path.join(folder, name), "") for name in names)  # noqa: PTH118


def _list_network_namespaces() -> Iterator[Candidate]:
    with contextlib.suppress(OSError):
        yield from ((name, "") for name in sorted(os.listdir("/run/netns")))  # noqa: PTH208
    yield from _list_pids()


_NAMES: dict[str, Callable[[], Iterable[Candidate]]] = {
    "--pid": _list_pids,
    "--tid": _list_tids,
    "--comm": _list_comms,
    "--uid": _list_users,
    "--cgroup": _list_cgroups,
    "--netns": _list_network_namespaces,
    "--mntns": _list_pids,
}
"""Candidates for the values of options that name tasks."""
