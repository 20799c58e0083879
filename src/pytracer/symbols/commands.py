"""Find the program that a command executes behind ``env``, ``timeout`` and similar wrappers, or a shell's
simple command, and its environment.

Nothing is run. A command that is not understood stays as it is.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from pytracer.record import record

_NESTED = 8  # commands that execute one another
_SHELLS = {"sh", "bash", "dash", "ash", "ksh", "zsh"}
# Programs that execute the rest of their words.
_LAUNCHERS = {
    *("nice", "timeout", "nohup", "setsid", "stdbuf", "ionice", "chrt", "taskset", "time", "numactl"),
    *("setarch", "setpriv", "prlimit", "unshare", "sudo", "doas"),
}
_PRIVILEGED = {"sudo", "doas"}  # they take out what the dynamic linker obeys
_ASSIGNMENT = re.compile(r"(?P<name>[^=]+)=(?P<value>.*)", re.DOTALL)
_PLAIN = re.compile(r"[\w@%+=:,./ -]+")  # a text that a shell takes as words, and nothing else
_SHORT_OPTION = re.compile(r"-\w")
_VARIABLE = re.compile(r"[A-Za-z_]\w*=")
# Options of GNU env: those with a value of their own, short and long, and those that change nothing here.
_WITH_VALUE = {"-u": "unset", "--unset": "unset", "-C": "chdir", "--chdir": "chdir", "-a": "", "--argv0": ""}
_SIGNALS = ("--block-signal", "--default-signal", "--ignore-signal", "--list-signal-handling")
_FLAGS = ("-0", "--null", "-v", "--debug")


@record
class Execution:
    """A program's name as execvp(3) gets it, its environment, and the folder it starts in ("": ours)."""

    program: str
    environment: Mapping[str, str]
    folder: str = ""


def find_execution(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Execution:
    """Return the execution that a command results in."""
    words, variables, folder = list(command), dict(os.environ if environment is None else environment), ""
    for _ in range(_NESTED):
        name = words[0].rpartition("/")[2] if words else ""
        if name == "env":
            inner = _strip_env(words[1:], variables)
        elif name in _SHELLS:
            inner = _strip_shell(words[1:], variables)
        elif name in _LAUNCHERS:
            inner = _strip_launcher(name, words[1:], variables, folder)
        else:
            break
        if inner is None:
            break
        words, variables, changed = inner
        folder = str(Path(folder, changed)) if changed else folder
    return Execution(words[0] if words else "", variables, folder)


_Inner = tuple[list[str], dict[str, str], str]


def _strip_env(words: list[str], environment: dict[str, str]) -> _Inner | None:
    """Return the command that ``env`` executes; None if there is none, or an option is unknown."""
    remaining, variables, folder = list(words), dict(environment), ""
    unset = list[str]()
    while remaining and remaining[0].startswith("-"):
        word = remaining.pop(0)
        if word == "--":
            break
        option, equals, value = word.partition("=") if word.startswith("--") else (word[:2], "", word[2:])
        if word in ("-", "-i", "--ignore-environment"):
            variables = {}
        elif option in _WITH_VALUE:
            if not value and not equals:
                if not remaining:
                    return None
                value = remaining.pop(0)
            if _WITH_VALUE[option] == "unset":
                unset.append(value)
            elif _WITH_VALUE[option] == "chdir":
                folder = value
        elif word not in _FLAGS and option not in _SIGNALS:
            return None  # such as -S, and several letters in one word
    for name in unset:
        variables.pop(name, None)
    return _strip_assignments(remaining, variables, folder, _ASSIGNMENT)


def _strip_launcher(name: str, words: list[str], environment: dict[str, str], folder: str) -> _Inner | None:
    """Return the command that a launcher executes: from the first word on that names a program. One behind a
    short option may be the option's value, and counts only if there is no other."""
    programs = [index for index, word in enumerate(words) if _is_program(word, environment, folder)]
    other_programs = [
        index for index in programs if not index or not _SHORT_OPTION.fullmatch(words[index - 1])
    ]
    if not programs:
        return None
    variables = {key: v for key, v in environment.items() if name not in _PRIVILEGED or key[:3] != "LD_"}
    return words[min(other_programs or programs) :], variables, ""


def _is_program(word: str, environment: Mapping[str, str], folder: str) -> bool:
    if word.startswith("-") or word.isdecimal():
        return False
    path = str(Path(folder or ".", word).absolute()) if "/" in word else word
    return shutil.which(path, path=environment.get("PATH", os.defpath)) is not None


def _strip_shell(words: list[str], environment: dict[str, str]) -> _Inner | None:
    """Return the command that ``sh -c TEXT`` executes, if it is one simple command without any quoting."""
    if len(words) < 2 or words[0] != "-c" or not _PLAIN.fullmatch(words[1]):
        return None
    shebang = words[1].split()
    inner = _strip_assignments(shebang, dict(environment), "", _VARIABLE)
    if inner is not None and inner[0][0] == "exec":
        return (inner[0][1:], inner[1], "") if len(inner[0]) > 1 and inner[0][1][0] != "-" else None
    return inner


def _strip_assignments(
    words: list[str], environment: dict[str, str], folder: str, pattern: re.Pattern[str]
) -> _Inner | None:
    remaining = list(words)
    while remaining and pattern.match(remaining[0]):
        name, _, value = remaining.pop(0).partition("=")
        environment[name] = value
    return (remaining, environment, folder) if remaining else None
