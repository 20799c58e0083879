"""Read defaults of options from configuration files: the system's, then the user's.

    [defaults]            # options that many tracers have
    format = "json"
    [tracer.syscalls]     # any option of one tracer, except those that select the traced tasks
    by = "syscall,pid"

Options of the command line come after both. A file is not read if others can write to it, or if it belongs to
a user other than root and the effective user.
"""

from __future__ import annotations

import argparse
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pytracer.errors import UsageError, suggest_near
from pytracer.record import record

SYSTEM = Path("/etc/pytracer/config.toml")
_SHARED = (
    *("format", "timestamp", "wide", "csv-raw", "icicle", "top", "sort", "max-rows", "buffer", "strict"),
    *("duration", "max-probes", "verbose", "headers"),
)
"""The options that ``[defaults]`` may set. A tracer without one of them ignores it."""
_REFUSED = ("help", "output", "dry-run", "emit-c", "no-config", "load", "wait-all", "hook", "debug")
_MAX_BYTES = 1 << 16


@record
class Default:
    """An option as words of a command line, and the file that sets it."""

    words: tuple[str, ...]
    file: Path


def user_file() -> Path:
    """Return the path of the user's file."""
    folder = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")  # noqa: PTH111
    return Path(folder) / "pytracer" / "config.toml"


def load(tracer: str, actions: list[argparse.Action]) -> tuple[list[Default], list[str]]:
    """Return the defaults for a tracer with the options ``actions``, and warnings about files that were
    ignored.

    Raises UsageError if a file is not TOML or names an unknown option.
    """
    defaults, warnings = list[Default](), list[str]()
    options = {
        option[2:]: action for action in actions for option in action.option_strings if option[:2] == "--"
    }
    for path in (SYSTEM, user_file()):
        text = _read(path, warnings)
        if text is not None:
            defaults += _defaults(path, _parse(path, text), tracer, options)
    return defaults, warnings


def _read(path: Path, warnings: list[str]) -> str | None:
    """Return the text of a file; None if there is none, or if its owner or mode cannot be trusted."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        warnings.append(f"{path} is not read: {error.strerror}")
        return None
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        reason = ""
        if not stat.S_ISREG(status.st_mode):
            reason = "it is no regular file"
        elif status.st_uid not in (0, os.geteuid()):
            reason = f"it belongs to another user (uid {status.st_uid})"
        elif status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            reason = "it can be written by others (chmod go-w)"
        elif status.st_size > _MAX_BYTES:
            reason = f"it has more than {_MAX_BYTES} bytes"
        if reason:
            warnings.append(f"{path} is not read: {reason}")
            return None
        return file.read().decode("utf-8", "replace")


def _parse(path: Path, text: str) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: {error}", hint='it is TOML: format = "json"') from None


def _defaults(
    path: Path, document: dict[str, Any], tracer: str, options: dict[str, argparse.Action]
) -> Iterator[Default]:
    for section in document:
        if section not in ("defaults", "tracer"):
            raise UsageError(f"{path}: no such section: {section!r}", hint="[defaults], [tracer.NAME]")
    tracer_table = _table(path, _table(path, document, "tracer"), tracer)
    for name, value in _table(path, document, "defaults").items():
        if name not in _SHARED:
            raise UsageError(f"{path}: {name!r} is no option of [defaults]", hint=suggest_near(name, _SHARED))
        action = options.get(name)
        # An option that this tracer lacks, or a value that it does not accept, is meant for other tracers.
        is_applicable = action is not None and action.help != argparse.SUPPRESS and name not in tracer_table
        if is_applicable and action is not None and (action.choices is None or value in action.choices):
            yield from _default(path, name, value, action)
    for name, value in tracer_table.items():
        if name not in options or name in _REFUSED:
            allowed = [option for option in options if option not in _REFUSED]
            raise UsageError(
                f"{path}: {name!r} is no option of [tracer.{tracer}]", hint=suggest_near(name, allowed)
            )
        yield from _default(path, name, value, options[name])


def _table(path: Path, document: dict[str, Any], name: str) -> dict[str, Any]:
    table = document.get(name, {})
    if not isinstance(table, dict):
        raise UsageError(f"{path}: {name} is a section: [{name}]")
    return table


def _default(path: Path, name: str, value: Any, action: argparse.Action) -> Iterator[Default]:
    if isinstance(action.default, list) or action.dest.startswith("filter_"):
        raise UsageError(f"{path}: {name!r} selects what is traced; only the command line may set it")
    if action.nargs == 0:
        if not isinstance(value, bool):
            raise UsageError(f"{path}: {name!r} is true or false, not {value!r}")
        if value:
            yield Default((f"--{name}",), path)
    elif isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise UsageError(f"{path}: {name!r} is text or a number, not {value!r}")
    else:
        yield Default((f"--{name}={value}",), path)
