"""``pytracer prog show``: show a program with its C, its code and the entries of its maps."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pytracer.cli.arguments import Parser, positive
from pytracer.text import harmless

if TYPE_CHECKING:
    from pytracer.bpf.obj_info import SourceLine
    from pytracer.prog.dump import ProgramDump

_DESCRIPTION = """\
Shows a program: its holders and attach targets, its instructions as the verifier left them (beside the C, if
the program has BTF line information), its native code, its maps and their entries."""
_NOTES = """\
examples:
  pytracer prog show 74                 show program 74
  pytracer prog show 74 --entries 1000  show up to 1000 entries of each map
  pytracer prog show 74 -f json         an object per line, of kind program, map, entry, instruction or native

notes:
  Native code is disassembled by capstone on x86-64 and arm64, and shown as bytes on other machines.
  Entries are decoded by the map's BTF types; without BTF they are shown as numbers or bytes. Per-CPU values
  are shown as a list. Zero entries of arrays are left out."""


def run(words: Sequence[str]) -> int:
    """Show a program, as text or (``-f json``) one object per line."""
    parser = Parser(
        prog="pytracer prog show",
        description=_DESCRIPTION,
        epilog=_NOTES,
        usage="pytracer prog show ID [--entries N] [-f {table,json}]",
    )
    parser.add_argument("id", metavar="ID", help=argparse.SUPPRESS)
    parser.add_argument(
        "--entries",
        type=positive,
        metavar="N",
        default=10,
        help="show up to N entries of each map (default: 10)",
    )
    parser.add_argument(
        "-f", "--format", choices=("table", "json"), default="table", help="output format (default: table)"
    )
    parser.add_argument("--debug", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(words)

    from pytracer.kernel.policy import require_capabilities
    from pytracer.prog.dump import dump_program
    from pytracer.prog.program_tables import NEEDED

    require_capabilities(NEEDED, "pytracer prog show")
    dump = dump_program(options.id, entries=options.entries)
    for line in dump.unseen:
        print(f"pytracer: warning: {line}; owner and attached lack theirs", file=sys.stderr)
    if options.format == "json":
        for record in _records(dump):
            print(json.dumps(record))
    else:
        for line in _text(dump):
            print(harmless(line.rstrip()))
    return 0


def _records(dump: ProgramDump) -> Iterator[dict[str, Any]]:
    unmeasured = ("runs", "rate", "total_ns", "avg_ns", "cpu", "missed")  # not measured by ``show``
    yield {"kind": "program"} | {name: value for name, value in dump.facts.items() if name not in unmeasured}
    for table, content in dump.maps:
        info = table.info
        yield {
            "kind": "map",
            "id": info.id,
            "name": info.name,
            "type": table.type,
            "key_size": info.key_size,
            "value_size": info.value_size,
            "max_entries": info.max_entries,
            "memory": table.memory,
            "entries": content.count,
            "zero": content.zero,
            "reason": content.reason or None,
        }
        for key, value in content.entries:
            yield {"kind": "entry", "map": info.id, "key": key, "value": value}
    for line, instruction in dump.bytecode:
        code = {
            "number": instruction.number,
            "bytes": instruction.raw.hex(),
            "text": instruction.text,
            "target": instruction.target,
        }
        yield {"kind": "instruction"} | code | _line(line)
    for line, native in dump.native:
        offset = native.address - dump.begin
        code = {"offset": offset, "bytes": native.raw.hex(), "text": native.text or None}
        yield {"kind": "native"} | code | _line(line)


def _line(line: SourceLine | None) -> dict[str, Any]:
    return {"file": line.file, "line": line.line, "source": line.text} if line else {}


def _text(dump: ProgramDump) -> Iterator[str]:
    facts = dump.facts
    yield f"program {facts['id']}: {facts['name'] or '(no name)'}"
    yield f"  type      {facts['type']}, tag {facts['tag']}{', GPL' if dump.info.gpl else ''}"
    no_owner = "none of the visible processes" if dump.unseen else "none: its attach target holds it"
    yield f"  owner     {', '.join(facts['owner']) or no_owner}"
    yield f"  attached  {', '.join(facts['attached']) or 'unknown: the kernel does not report it'}"
    yield f"  loaded    {facts['loaded']} by user {facts['uid']}"
    verifier_note = "" if facts["verified"] is None else f", {facts['verified']} processed by the verifier"
    yield f"  size      {facts['insns']} instructions{verifier_note}; {facts['native']} bytes of native code"
    yield f"  memory    {facts['memory']} bytes, its maps {facts['map_memory']}"
    if facts["run_cnt"]:
        average = facts["run_time_ns"] // facts["run_cnt"]
        yield f"  runs      {facts['run_cnt']} of {average}ns, while run statistics were on"
    yield from _maps(dump)
    yield from ("", "bytecode")
    for line, instruction in dump.bytecode:
        yield from _c(line)
        yield f"  {instruction.number:>5}: {instruction.text}" + (
            f"  -> {instruction.target}" if instruction.target is not None else ""
        )
    yield from ("", "native code")
    for line, native in dump.native:
        yield from _c(line)
        yield f"  {native.address - dump.begin:>5x}: {native.text or native.raw.hex(' ')}"
    if dump.hint:
        yield f"  ({dump.hint})"


def _maps(dump: ProgramDump) -> Iterator[str]:
    for table, content in dump.maps:
        info = table.info
        yield ""
        yield (
            f"map {info.id}: {info.name or '(no name)'}, {table.type}, key {info.key_size} bytes, value "
            f"{info.value_size} bytes, max_entries {info.max_entries}, {table.memory} bytes of memory"
        )
        for key, value in content.entries:
            yield f"  {_value(key)}: {_value(value)}"
        if content.count is None:
            yield f"  ({content.reason})"
        elif content.count > len(content.entries):
            yield f"  ... and {content.count - len(content.entries)} more; --entries N"
        if content.zero:
            yield f"  ({content.zero} {'more ' if content.count else ''}zero entries left out)"
        elif content.count == 0:
            yield "  (empty)"


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}={_value(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return str(value)


def _c(line: SourceLine | None) -> Iterator[str]:
    if line is not None:
        yield f"; {line.file}:{line.line}  {line.text.strip()}"
