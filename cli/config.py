"""Defaults of options from configuration files: of the system, then the user's, then the command line's.

    [defaults]            # options that many tracers have
    format = "json"
    [tracer.syscalls]     # any option of one tracer, except what says which tasks it traces
    by = "syscall,pid"

A file of somebody else than root and the effective user, or that others can write, is not read.
"""

from __future__ import annotations

import argparse
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pytracer.errors import UsageError, near
from pytracer.record import record

SYSTEM = Path("/etc/pytracer/config.toml")
_SHARED = (
    *("format", "timestamp", "wide", "csv-raw", "icicle", "top", "sort", "max-rows", "buffer", "strict"),
    *("duration", "max-probes", "verbose", "headers"),
)
"""The options of ``[defaults]``: a tracer that does not have one goes without."""
_REFUSED = ("help", "output", "dry-run", "emit-c", "no-config", "load", "wait-all", "hook", "debug")
_MAX_BYTES = 1 << 16


@record
class Default:
    """An option's words as a command line has them, and the file that they are from."""

    words: tuple[str, ...]
    file: Path


def user_file() -> Path:
    """Return the path of the user's file."""
    folder = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")  # noqa: PTH111
    return Path(folder) / "pytracer" / "config.toml"


def load(tracer: str, actions: list[argparse.Action]) -> tuple[list[Default], list[str]]:
    """Return the defaults for a tracer, whose options are ``actions``; and warnings of files that are not
    read.

    Raises UsageError for what is no TOML, or names no option.
    """
    found, warnings = list[Default](), list[str]()
    options = {
        option[2:]: action for action in actions for option in action.option_strings if option[:2] == "--"
    }
    for path in (SYSTEM, user_file()):
        text = _read(path, warnings)
        if text is not None:
            found += _defaults(path, _parse(path, text), tracer, options)
    return found, warnings


def _read(path: Path, warnings: list[str]) -> str | None:
    """Return the text of a file that may be trusted; None if there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        warnings.append(f"{path} is not read: {error.strerror}")
        return None
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        why = ""
        if not stat.S_ISREG(status.st_mode):
            why = "it is no regular file"
        elif status.st_uid not in (0, os.geteuid()):
            why = f"it belongs to another user (uid {status.st_uid})"
        elif status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            why = "it can be written by others (chmod go-w)"
        elif status.st_size > _MAX_BYTES:
            why = f"it has more than {_MAX_BYTES} bytes"
        if why:
            warnings.append(f"{path} is not read: {why}")
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
    own = _table(path, _table(path, document, "tracer"), tracer)
    for name, value in _table(path, document, "defaults").items():
        if name not in _SHARED:
            raise UsageError(f"{path}: {name!r} is no option of [defaults]", hint=near(name, _SHARED))
        action = options.get(name)
        # What this tracer does not have, or takes no such value for, is for others.
        has = action is not None and action.help != argparse.SUPPRESS and name not in own
        if has and action is not None and (action.choices is None or value in action.choices):
            yield from _default(path, name, value, action)
    for name, value in own.items():
        if name not in options or name in _REFUSED:
            known = [option for option in options if option not in _REFUSED]
            raise UsageError(f"{path}: {name!r} is no option of [tracer.{tracer}]", hint=near(name, known))
        yield from _default(path, name, value, options[name])


def _table(path: Path, document: dict[str, Any], name: str) -> dict[str, Any]:
    table = document.get(name, {})
    if not isinstance(table, dict):
        raise UsageError(f"{path}: {name} is a section: [{name}]")
    return table


def _default(path: Path, name: str, value: Any, action: argparse.Action) -> Iterator[Default]:
    if isinstance(action.default, list) or action.dest.startswith("filter_"):
        raise UsageError(f"{path}: {name!r} says what is traced, and is taken from the command line alone")
    if action.nargs == 0:
        if not isinstance(value, bool):
            raise UsageError(f"{path}: {name!r} is true or false, not {value!r}")
        if value:
            yield Default((f"--{name}",), path)
    elif isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise UsageError(f"{path}: {name!r} is text or a number, not {value!r}")
    else:
        yield Default((f"--{name}={value}",), path)
