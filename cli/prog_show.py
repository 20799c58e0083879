"""``pytracer prog show``: one program, with its C, its code and the content of its maps."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pytracer.cli.arguments import Parser, positive
from pytracer.text import harmless

if TYPE_CHECKING:
    from pytracer.bpf.obj_info import SourceLine
    from pytracer.prog.dump import ProgramDump

_DESCRIPTION = """\
One program: who holds it and where it is, its instructions as the verifier left them, beside the C where the
program brought its lines along (BTF), its native code, its maps and what is in them."""
_NOTES = """\
examples:
  pytracer prog show 74                 all there is to see of program 74
  pytracer prog show 74 --entries 1000  with more of what is in its maps
  pytracer prog show 74 -f json         program, map, entry, instruction, native: an object a line

notes:
  Native code is read by capstone; that of machines other than x86-64 and arm64 is shown as bytes.
  Entries are shown by the types that came with the map, else as numbers or bytes; values that each CPU has
  for itself as a list; of arrays only what is not zero."""


def run(words: Sequence[str]) -> int:
    """Show it, as text or (``-f json``) one object a line."""
    parser = Parser(
        prog="pytracer prog show",
        description=_DESCRIPTION,
        epilog=_NOTES,
        usage="pytracer prog show ID [--entries N] [-f {table,json}]",
    )
    parser.add_argument("id", metavar="ID", help=argparse.SUPPRESS)
    parser.add_argument(
        "--entries", type=positive, metavar="N", default=10, help="of each map so many (default: 10)"
    )
    parser.add_argument("-f", "--format", choices=("table", "json"), default="table", help="how to show it")
    parser.add_argument("--debug", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(words)

    from pytracer.kernel.policy import require
    from pytracer.prog.dump import dump_program
    from pytracer.prog.program_tables import NEEDED

    require(NEEDED, "pytracer prog show")
    found = dump_program(given.id, entries=given.entries)
    if given.format == "json":
        for record in _records(found):
            print(json.dumps(record))
    else:
        for line in _text(found):
            print(harmless(line.rstrip()))
    return 0


def _records(found: ProgramDump) -> Iterator[dict[str, Any]]:
    unmeasured = ("runs", "rate", "total_ns", "avg_ns", "cpu", "missed")  # of a time that was not looked at
    yield {"kind": "program"} | {name: value for name, value in found.facts.items() if name not in unmeasured}
    for table, inside in found.maps:
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
            "entries": inside.count,
            "zero": inside.zero,
            "reason": inside.reason or None,
        }
        for key, value in inside.entries:
            yield {"kind": "entry", "map": info.id, "key": key, "value": value}
    for line, one in found.bytecode:
        code = {"number": one.number, "bytes": one.raw.hex(), "text": one.text, "target": one.target}
        yield {"kind": "instruction"} | code | _line(line)
    for line, native in found.native:
        at = native.address - found.begin
        code = {"offset": at, "bytes": native.raw.hex(), "text": native.text or None}
        yield {"kind": "native"} | code | _line(line)


def _line(line: SourceLine | None) -> dict[str, Any]:
    return {"file": line.file, "line": line.line, "source": line.text} if line else {}


def _text(found: ProgramDump) -> Iterator[str]:
    facts = found.facts
    yield f"program {facts['id']}: {facts['name'] or '(no name)'}"
    yield f"  type      {facts['type']}, tag {facts['tag']}{', GPL' if found.info.gpl else ''}"
    yield f"  owner     {', '.join(facts['owner']) or 'nobody: what it is attached to holds it'}"
    yield f"  attached  {', '.join(facts['attached']) or 'nowhere that the kernel tells'}"
    yield f"  loaded    {facts['loaded']} by user {facts['uid']}"
    looked = "" if facts["verified"] is None else f", the verifier looked at {facts['verified']}"
    yield f"  size      {facts['insns']} instructions{looked}; {facts['native']} bytes of native code"
    yield f"  memory    {facts['memory']} bytes, its maps {facts['map_memory']}"
    if facts["run_cnt"]:
        average = facts["run_time_ns"] // facts["run_cnt"]
        yield f"  runs      {facts['run_cnt']} of {average} ns, while the kernel was asked to count"
    yield from _maps(found)
    yield from ("", "bytecode")
    for line, one in found.bytecode:
        yield from _c(line)
        yield f"  {one.number:>5}: {one.text}" + (f"  -> {one.target}" if one.target is not None else "")
    yield from ("", "native code")
    for line, native in found.native:
        yield from _c(line)
        yield f"  {native.address - found.begin:>5x}: {native.text or native.raw.hex(' ')}"
    if found.hint:
        yield f"  ({found.hint})"


def _maps(found: ProgramDump) -> Iterator[str]:
    for table, inside in found.maps:
        info = table.info
        yield ""
        yield (
            f"map {info.id}: {info.name or '(no name)'}, {table.type}, key {info.key_size} bytes, value "
            f"{info.value_size} bytes, room for {info.max_entries}, {table.memory} bytes of memory"
        )
        for key, value in inside.entries:
            yield f"  {_value(key)}: {_value(value)}"
        if inside.count is None:
            yield f"  ({inside.reason})"
        elif inside.count > len(inside.entries):
            yield f"  ... and {inside.count - len(inside.entries)} more; --entries N"
        if inside.zero:
            yield f"  ({inside.zero} {'more ' if inside.count else ''}that are 0)"
        elif inside.count == 0:
            yield "  (nothing in it)"


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}={_value(one)}" for name, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return str(value)


def _c(line: SourceLine | None) -> Iterator[str]:
    if line is not None:
        yield f"; {line.file}:{line.line}  {line.text.strip()}"
