"""The C that the compiler gets: the tracer's file with pytracer's own includes inlined.

BCC rewrites map accesses in the main file only, so the helpers of ``probes_c/include`` cannot stay includes.
``#line`` keeps the compiler's messages and the verifier's source lines pointing at the files.

See "Source and headers" in docs/internals.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from pytracer.errors import BuildError

_LINE = re.compile(r'#line (\d+) "([^"]*)"')
_INCLUDE = re.compile(r'\s*#\s*include\s+"([\w./-]+)"')


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
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BuildError(f"cannot read {path}: {error}") from error
    return _inline_includes(lines, path, included_paths, generated_includes)


def _inline_includes(
    lines: Iterable[str], path: Path, included_paths: set[Path], generated_includes: Mapping[str, str]
) -> str:
    """Inline the includes: pytracer's own, else those beside the file at ``path``."""
    name = path.name
    inlined = [f'#line 1 "{name}"']
    for number, line in enumerate(lines, 1):
        match = _INCLUDE.match(line)
        if match is None:
            # BCC puts lines of its own before and into functions.
            begins_function = line == "{" or (line.endswith("{") and line[:1].isalpha() and ")" in line)
            line_directive = [f'#line {number} "{name}"'] if line == "{" else []
            inlined += [*line_directive, line, *([f'#line {number + 1} "{name}"'] if begins_function else [])]
            continue
        included = probes_folder() / "include" / match[1]
        if not included.exists() and (path.parent / match[1]).exists():
            included = path.parent / match[1]
        if match[1] in generated_includes:
            inlined.append(
                _inline_includes(
                    generated_includes[match[1]].splitlines(),
                    Path(match[1]),
                    included_paths,
                    generated_includes,
                )
            )
        elif included not in included_paths:
            inlined.append(_inline(included, included_paths, generated_includes))
        inlined.append(f'#line {number + 1} "{name}"')
    return "\n".join(inlined) + "\n"
