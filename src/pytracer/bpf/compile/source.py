"""The C that the compiler gets: the tracer's file with pytracer's own includes inlined.

BCC rewrites map accesses in the main file only, so the helpers of ``probes_c/include`` cannot stay includes.
``#line`` keeps the compiler's messages and the verifier's source lines pointing at the files.

See "Source and headers" in docs/internals.md.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from pytracer.errors import BuildError

_LINE = re.compile(r'#line (\d+) "([^"]*)"')
_BRACE = re.compile(r"\{\n")
_INCLUDE = re.compile(r'#[ \t]*include[ \t]+"([\w./-]+)"[^\n]*\n')


@functools.cache
def probes_folder() -> Path:
    """Return the folder of the C files."""
    return Path(__file__).parents[2] / "probes_c"


def read_source(name: str, generated_includes: Mapping[str, str] | None = None) -> str:
    """Return the whole text of a C file of ``probes_c`` (or an absolute path). ``generated_includes`` are the
    texts, by name, of includes that are written for this run. Raises BuildError."""
    return _inline(probes_folder() / name, set(), generated_includes or {})


def emit(
    name: str, defines: Iterable[tuple[str, str]], generated_includes: Mapping[str, str] | None = None
) -> str:
    """Return the C of ``read_source`` after its macros, for people to read.

    BCC puts its own helpers before it and rewrites map accesses in it; the compiler gets the macros as -D.
    """
    head = f"// {name} as it is handed to BCC, whose helpers.h and map types it is written for\n"
    return (
        head
        + "".join(f"#define {n} {v}".rstrip() + "\n" for n, v in defines)
        + read_source(name, generated_includes)
    )


def split_by_file(source: str) -> dict[str, dict[int, str]]:
    """Split the text of ``read_source`` by its ``#line`` directives: lines by file and number."""
    by_file = dict[str, dict[int, str]]()
    file, number = "", 0
    for line in source.splitlines():
        if match := _LINE.match(line):
            number, file = int(match[1]), match[2]
        else:
            by_file.setdefault(file, {})[number] = line
            number += 1
    return by_file


def project_path(file: str, lines: Mapping[int, str]) -> str:
    """Return the project path of the file that has these lines; its bare name if no file has, since it was
    written for this run or comes from elsewhere."""
    folder = probes_folder()
    for path in (folder / file, folder / "include" / file):
        if path.is_file():
            original = dict(enumerate(path.read_text().splitlines(), 1))
            if all(original.get(number, "") == line for number, line in lines.items()):
                return str(path.relative_to(folder.parent))
    return file


def _inline(path: Path, included_paths: set[Path], generated_includes: Mapping[str, str]) -> str:
    included_paths.add(path)
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise BuildError(f"cannot read {path}: {error}") from error
    return _inline_includes(text, path, included_paths, generated_includes)


def _inline_includes(
    text: str, path: Path, included_paths: set[Path], generated_includes: Mapping[str, str]
) -> str:
    """Inline the includes: pytracer's own, else those beside the file at ``path``."""
    name = path.name
    parts, position, number = [f'#line 1 "{name}"\n'], 0, 1
    if text and not text.endswith("\n"):
        text += "\n"
    for start, end, include in _marked_lines(text):
        number += text.count("\n", position, start)
        parts.append(text[position:start])
        position = end
        if include:
            included = _inline_one(include, path, included_paths, generated_includes)
            parts += [included, "\n"] if included else []
        else:
            # BCC puts lines of its own before and into functions.
            parts += [f'#line {number} "{name}"\n'] if end - start == len("{\n") else []
            parts.append(text[start:end])
        number += 1
        parts.append(f'#line {number} "{name}"\n')
    return "".join([*parts, text[position:]])


def _marked_lines(text: str) -> list[tuple[int, int, str]]:
    """Return the lines that begin a function's body, or include a file, which is named: start and end.

    Searching for what they contain takes a fifth of the time of looking at each line, at every start.
    """
    lines = list[tuple[int, int, str]]()
    for match in _INCLUDE.finditer(text):
        start = text.rfind("\n", 0, match.start()) + 1
        if not text[start : match.start()].strip():
            lines.append((start, match.end(), match[1]))
    for match in _BRACE.finditer(text):
        start = text.rfind("\n", 0, match.start()) + 1
        line = text[start : match.start()]
        if not line or (line[0].isalpha() and ")" in line):
            lines.append((start, match.end(), ""))
    return sorted(lines)


def _inline_one(
    name: str, path: Path, included_paths: set[Path], generated_includes: Mapping[str, str]
) -> str:
    """Return the text of an include of the file at ``path``; "" if it is in already."""
    if name in generated_includes:
        return _inline_includes(generated_includes[name], Path(name), included_paths, generated_includes)
    included = probes_folder() / "include" / name
    if included in included_paths:
        return ""
    if not included.exists() and (path.parent / name).exists():
        included = path.parent / name
    return "" if included in included_paths else _inline(included, included_paths, generated_includes)
