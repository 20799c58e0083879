"""``pytracer man [TRACER]``: print manual pages, from the same declarations as ``--help``."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from pytracer import __version__
from pytracer.cli import tracer_parser
from pytracer.cli.arguments import Parser
from pytracer.errors import UsageError
from pytracer.spec import Column, Tracer, registry

_EXAMPLES = """\
examples:
  pytracer man syscalls | man -l -                   read a page
  sudo pytracer man --into /usr/local/share/man/man1 write all pages"""
_EXIT = (
    ("0", "success"),
    ("1", "failure"),
    ("2", "wrong command line"),
    ("3", "events or rows were lost, under --strict"),
    ("4", "not supported on this kernel"),
    ("5", "not permitted"),
)


_FILES = (
    ("/etc/pytracer/config.toml", "defaults of options"),
    ("~/.config/pytracer/config.toml", "the user's defaults"),
)


def run(words: Sequence[str]) -> int:
    """Print a page, or write all pages."""
    usage = "pytracer man [TRACER] | --into DIR"
    page_parser = Parser(
        prog="pytracer man", description="Prints a manual page.", usage=usage, epilog=_EXAMPLES
    )
    page_parser.add_argument(
        "tracer",
        metavar="TRACER",
        nargs="?",
        help="print the page of this tracer (default: of pytracer itself)",
    )
    page_parser.add_argument("--into", metavar="DIR", help="write the pages of all tracers into this folder")
    page_parser.add_argument("--debug", action="store_true", help=argparse.SUPPRESS)
    options = page_parser.parse_args(words)
    if options.into is None:
        print(_page_of(registry.get(options.tracer)) if options.tracer else _overview(), end="")
        return 0
    folder = Path(options.into)
    try:
        (folder / "pytracer.1").write_text(_overview())
        for tracer in registry.all_tracers():
            (folder / f"pytracer-{tracer.name}.1").write_text(_page_of(tracer))
    except OSError as error:
        raise UsageError(f"cannot write to {options.into!r}: {error.strerror}") from error
    return 0


def _overview() -> str:
    from pytracer.cli import main

    lines = [*_head("pytracer", "trace a running Linux kernel and the programs on it")]
    words = "TRACER [ARG...] [INTERVAL [COUNT]] [options] [-- COMMAND...]"
    lines += [".SH SYNOPSIS", f"{_bold('pytracer')} {_escape(words)}"]
    lines += [".SH COMMANDS", *_list((name, text) for name, (_, text) in main.COMMANDS.items())]
    lines += [".SH TRACERS"]
    lines += _list((f"pytracer-{tracer.name}(1)", tracer.summary) for tracer in registry.all_tracers())
    lines += [".SH FILES", *_list(_FILES)]
    lines += [".SH EXIT STATUS", *_list(_EXIT)]
    return "\n".join(lines) + "\n"


def _page_of(tracer: Tracer) -> str:
    parser = tracer_parser.build(tracer)
    lines = [*_head(f"pytracer-{tracer.name}", tracer.summary)]
    lines += [
        ".SH SYNOPSIS",
        _escape(str(parser.usage)),
        ".SH DESCRIPTION",
        *_paragraphs(tracer.description),
    ]
    lines += [".SH OPTIONS"]
    for group in parser._action_groups:
        actions = [
            action
            for action in group._group_actions
            if action.option_strings and action.help != argparse.SUPPRESS
        ]
        if actions:
            lines += [f".SS {_escape(group.title or 'options')}"]
            for action in actions:
                metavar = action.metavar or "|".join(map(str, action.choices or ())) or action.dest.upper()
                value = "" if action.nargs == 0 else f" \\fI{_escape(str(metavar))}\\fR"
                names = ", ".join(map(_bold, action.option_strings))
                lines += [".TP", names + value, _escape(_help(action))]
    lines += [".SH COLUMNS", *_list((name, column.help) for name, column in _columns(tracer).items())]
    lines += [".SH EXAMPLES", *_list((f"pytracer {line}", text) for line, text in tracer.examples)]
    lines += [".SH NOTES", *_paragraphs("\n".join(tracer.notes)), ".SH EXIT STATUS", *_list(_EXIT)]
    return "\n".join([*lines, ".SH SEE ALSO", ".BR pytracer (1)"]) + "\n"


def _columns(tracer: Tracer) -> dict[str, Column]:
    keys = tracer.group_by.keys if tracer.group_by else tracer.keys
    columns = {column.name: column for key in keys for column in key.columns}
    return columns | {c.name: c for output in tracer.outputs for c in tracer_parser.columns_of(output)}


def _help(action: argparse.Action) -> str:
    return (action.help or "").replace("%%", "%")


def _head(name: str, summary: str) -> Iterator[str]:
    yield f'.TH "{name.upper()}" 1 "" "pytracer {__version__}" ""'
    yield from (".SH NAME", f"{_escape(name)} \\- {_escape(summary)}")


def _list(pairs: Iterable[tuple[str, str]]) -> Iterator[str]:
    for name, text in pairs:
        yield from (".TP", _bold(name), _escape(text))


def _paragraphs(text: str) -> Iterator[str]:
    for line in text.splitlines():
        yield _escape(line) if line else ".PP"


def _bold(text: str) -> str:
    return f"\\fB{_escape(text)}\\fR"


def _escape(text: str) -> str:
    """Escape roff's special characters."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + escaped if escaped.startswith((".", "'")) else escaped
