"""The C that is handed to the compiler: the tracer's file with pytracer's own includes put in its place.

BCC rewrites map accesses in the main file only, so the helpers of ``probes_c/include`` cannot stay
includes. ``#line`` keeps the compiler's messages and the verifier's source lines pointing at the files.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from pytracer.errors import BuildError

_LINE = re.compile(r'#line (\d+) "([^"]*)"')
_INCLUDE = re.compile(r'\s*#\s*include\s+"([\w./-]+)"')


def probes_folder() -> Path:
    """The folder of the C files."""
    return Path(__file__).parent.parent / "probes_c"


def read_source(name: str, generated: Mapping[str, str] | None = None) -> str:
    """The whole text of a C file of ``probes_c`` (or an absolute path); ``generated`` are the texts, by name,
    of includes that are written for this run. Raises BuildError."""
    return _inline(probes_folder() / name, set(), generated or {})


def emit(name: str, defines: Iterable[tuple[str, str]], generated: Mapping[str, str] | None = None) -> str:
    """The C of ``read_source`` under its macros, for people to read.

    BCC puts its own helpers before it and rewrites map accesses in it; the compiler gets the macros as -D.
    """
    head = f"// {name} as it is handed to BCC, whose helpers.h and map types it is written for\n"
    return (
        head + "".join(f"#define {n} {v}".rstrip() + "\n" for n, v in defines) + read_source(name, generated)
    )


def place_of(file: str) -> str:
    """Where in the project a file of that name is; the name alone of one that is not there."""
    folder = probes_folder()
    for path in (folder / file, folder / "include" / file):
        if path.is_file():
            return str(path.relative_to(folder.parent))
    return file


def texts(source: str) -> dict[tuple[str, int], str]:
    """Each line of ``read_source``, by the file and the number that it says it is."""
    found = dict[tuple[str, int], str]()
    file, number = "", 0
    for line in source.splitlines():
        if match := _LINE.match(line):
            number, file = int(match[1]), match[2]
        else:
            found[file, number] = line
            number += 1
    return found


def _inline(path: Path, seen: set[Path], generated: Mapping[str, str]) -> str:
    seen.add(path)
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BuildError(f"cannot read {path}: {error}") from error
    out = [f'#line 1 "{path.name}"']
    for number, line in enumerate(lines, 1):
        match = _INCLUDE.match(line)
        if match is None:
            # BCC puts lines of its own before and into functions.
            begins = line == "{" or (line.endswith("{") and line[:1].isalpha() and ")" in line)
            before = [f'#line {number} "{path.name}"'] if line == "{" else []
            out += [*before, line, *([f'#line {number + 1} "{path.name}"'] if begins else [])]
            continue
        included = probes_folder() / "include" / match[1]
        if match[1] in generated:
            out += [f'#line 1 "{match[1]}"', generated[match[1]]]
        elif included not in seen:
            out.append(_inline(included, seen, generated))
        out.append(f'#line {number + 1} "{path.name}"')
    return "\n".join(out) + "\n"
