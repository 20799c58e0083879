"""Test escapes: each output can be converted back to its bytes, and no two have the same text."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import subprocess

import pytest

from pytracer.arrays import np
from pytracer.enrich.program_arguments import arguments
from pytracer.enrich.strings import text
from pytracer.lang.formats import parse_format
from pytracer.model import Snapshot
from pytracer.sinks.folded import escape_name
from pytracer.sinks.formatting import cell
from pytracer.spec import Column, quoting
from pytracer.text import all_from_bytes, all_harmless, clip, from_bytes, from_path, harmless, to_bytes
from unit.sinks.test_sinks import BY_PROCESS, by_process, render

PARTS = [
    b"\\", b"\\", b"x", b"n", b"u", b"U", b"t", b"0", b"e", b"9", b"\n", b"\r", b"\t", b"\x1b", b"\x7f",
    b"\xe9", b"\xff", "é".encode(), "\x9b".encode(), "\u2028".encode(), "\u202e".encode(),
    "\U000e0001".encode(),
    b"\xed\xb3\xbf", b"\xc3", b"'", b'"', b";", b",", b" ", b"=", b"-", b"$", b":", b"*", b"?", b"+", b"@1",
]  # fmt: skip
CHOSEN = [
    b"",
    b"\xe9",
    rb"\xe9",
    b"a\nb",
    rb"a\nb",
    rb"\\xe9",
    "\x9b".encode(),
    b"\x9b",
    rb"\u009b",
    b"[no name]",
]


def strings() -> list[bytes]:
    """Yield strings without NUL: chosen ones, parts of escapes, and random bytes."""
    source = random.Random(20)
    random_strings = [b"".join(source.choices(PARTS, k=source.randrange(1, 7))) for _ in range(4000)]
    random_strings += [bytes(source.choices(range(1, 256), k=source.randrange(1, 16))) for _ in range(1000)]
    return list(dict.fromkeys([*CHOSEN, *random_strings]))


STRINGS = strings()


def in_output(form: str, *options: str) -> list[str]:
    """Return what column comm is read as, of an output that has all of the strings."""
    snapshot = by_process("row")
    columns = {
        name: np.asarray(values)[:1].repeat(len(STRINGS)).tolist()
        for name, values in snapshot.columns.items()
    }
    columns["comm"] = [text(value) for value in STRINGS]
    quoted = render(form, BY_PROCESS, [Snapshot(snapshot.kind, snapshot.time, snapshot.seconds, columns)])
    if form == "json":
        return [json.loads(line)["comm"] for line in quoted.splitlines()]
    return [row["comm"].removeprefix("'") if row["comm"][:1] == "'" else row["comm"]
            for row in csv.DictReader(io.StringIO(quoted))]  # fmt: skip


@pytest.mark.parametrize("form", ["json", "csv"])
def test_outputs_can_be_read_back(form):
    output = in_output(form)
    assert [to_bytes(value) for value in output] == STRINGS
    assert len(set(output)) == len(STRINGS)


def test_cells_of_tables_can_be_read_back():
    cells = [cell(text(value), Column("comm", "")) for value in STRINGS]
    assert [to_bytes(string) for string in cells] == STRINGS
    assert len(set(cells)) == len(STRINGS)
    assert all(string.isprintable() for string in cells)


def test_parts_of_stacks_can_be_read_back():
    parts = [escape_name(text(value)) for value in STRINGS]
    assert [to_bytes("" if string == "[no name]" else string) for string in parts] == STRINGS
    assert len(set(parts)) == len(STRINGS)
    assert not any(";" in string for string in parts)


def test_texts_of_events_can_be_read_back():
    """Text that the user wrote around a value is escaped like the value."""
    before, show, after = parse_format(r'"a\\n%s\n"', 1, 9)
    lines = [from_path(before) + show.show(text(value)) + from_path(after) for value in STRINGS]
    assert [to_bytes(harmless(line)) for line in lines] == [b"a\\n" + value + b"\n" for value in STRINGS]


def test_a_shell_reads_arguments_back():
    string = arguments(b"".join(value + b"\0" for value in STRINGS))
    assert string.isprintable()
    script = f"for word in {string}; do printf '%s\\0' \"$word\"; done"
    output = subprocess.run(["bash"], input=script.encode(), capture_output=True, env={"LC_ALL": "C.UTF-8"})
    assert output.stdout.split(b"\0")[:-1] == STRINGS
    assert len({arguments(value + b"\0") for value in STRINGS}) == len(STRINGS)


def test_names_that_are_shown_name_the_same_again():
    names = [text(value) for value in STRINGS if value]
    quoted = [quoting.quote(name) for name in names]
    assert len(set(quoted)) == len(names)
    for values in (quoted, [harmless(string) for string in quoted]):
        assert [to_bytes(quoting.unquote(string)) for string in values] == [to_bytes(name) for name in names]
        assert all(quoting.split(string, ":") == [string] for string in values)


def test_paths_that_are_shown_name_the_same_file_again():
    paths = [os.fsdecode(value) for value in STRINGS if value]
    quoted = [quoting.quote(path) for path in paths]
    for values in (quoted, [harmless(string) for string in quoted]):
        assert [os.fsencode(quoting.unquote(string)) for string in values] == [
            os.fsencode(path) for path in paths
        ]


def test_escapes_are_never_cut():
    string = from_bytes(b"\xff\\a\xff")
    assert [clip(string, length) for length in range(5)] == ["", r"\xff", r"\xff\\", r"\xff\\a", string]
    assert clip("abc", 2) == "ab"
    [show] = parse_format('"%-6.2s"', 1, 7)
    assert show.show(from_bytes(b"a\\b")) == "a\\\\   "


def test_a_backslash_that_begins_no_escape_stands_for_itself():
    for values in ("\\", r"\q", r"\xg0", r"\UFFFFFFFF", r"\Uffffffff", r"\u12"):
        assert to_bytes(values) == values.encode()


HOSTILE = [
    b"",
    b"a",
    b"\xc3",
    b"\xa4",
    b"\xe4\xb8",
    b"\xe4\xb8\xad",
    b"\\",
    b"\\n",
    b"\0",
    b"\xff\xfe",
    b'"',
    b"\x1b[2J",
    b"\x7f",
]


@pytest.mark.parametrize(
    "values", [[], [b""], HOSTILE, [*HOSTILE, b"two\nlines"], [b"\x01\t", b"plain", b"\r"]]
)
def test_many_texts_are_made_as_each_alone(values):
    texts = all_from_bytes(values)
    assert texts == [from_bytes(value) for value in values]
    assert all_harmless(texts) == [harmless(text) for text in texts]
    assert all_harmless(["\N{RIGHT-TO-LEFT OVERRIDE}", *texts]) == [r"\u202e", *map(harmless, texts)]
