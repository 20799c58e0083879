"""Find the functions of a file by name, and the offset of each, at which uprobes attach."""

from __future__ import annotations

import contextlib
import difflib
import re
from collections.abc import Iterable, Mapping

from pytracer.errors import (
    PytracerError,
    UnknownNameError,
    UnprobeableError,
    UnreadableCodeError,
    UnsupportedError,
    UsageError,
)
from pytracer.record import default_factory, record, replace
from pytracer.spec import ProbeSite, quoting
from pytracer.symbols import code, function_names, symtab
from pytracer.symbols.program_files import ProgramFile
from pytracer.text import to_bytes

_NEAR = 2000  # names that an unknown one is compared to: a browser's file has a million
_SPREAD = 2  # characters that the length of a near name may differ by, among so many


@record
class FoundFunctions:
    """The functions that a name or pattern matches. ``left_out`` are functions that match but cannot be
    traced (IFUNC resolvers); ``titles`` are the displayed names of the sites: all its matching names,
    joined by ``|``. ``refused`` maps functions that the kernel does not probe to the reason."""

    sites: tuple[ProbeSite, ...]
    left_out: tuple[str, ...] = ()
    titles: tuple[str, ...] = ()
    refused: Mapping[str, str] = default_factory(factory=dict)

    @property
    def note(self) -> str:
        """Explain which matching functions are not traced; "" if all are."""
        notes = []
        if self.left_out:
            names = ", ".join(self.left_out[:5]) + (", ..." if len(self.left_out) > 5 else "")
            notes.append(f"not seen, since another is chosen for each when a program starts (IFUNC): {names}")
        if self.refused:
            names = ", ".join(list(self.refused)[:5]) + (", ..." if len(self.refused) > 5 else "")
            notes.append(f"not seen, since the kernel does not probe how they begin: {names}")
        return "; ".join(notes)


def find(file: ProgramFile, text: str, *, at_return: bool = False) -> FoundFunctions:
    """Find sites in a file: a function's name or pattern, ``name+0x10`` inside of one, ``+0x1040`` in the
    file.

    Raises UsageError (UnknownNameError) as :func:`functions` does, and if there is no code.
    """
    inside = re.fullmatch(r"(.*)\+(0x[0-9a-fA-F]+|\d+)", text, re.DOTALL)
    if inside is None:
        return functions(file, text)
    if at_return:
        raise UsageError(f"{text} is no function: what returns is probed from its beginning")
    name, distance = inside[1], int(inside[2], 0)
    if not name:
        return FoundFunctions((at_offset(file, distance),), titles=("",))
    matches = _find_functions(file, name)
    for begin in matches.titles:
        _check(file, begin + distance, begin)
    return FoundFunctions(
        tuple(ProbeSite(text, begin + distance) for begin in sorted(matches.titles)),
        titles=tuple(matches.titles[begin] for begin in sorted(matches.titles)),
    )


def functions(file: ProgramFile, pattern: str) -> FoundFunctions:
    """Find the functions of a file by name or pattern, each address once, in the order of the file.

    Raises UsageError (UnknownNameError) if there is none, if the file has no symbols, and if the name's
    function is only chosen when a program starts (IFUNC).
    """
    matches = _find_functions(file, pattern)
    sites, titles, refusals = list[ProbeSite](), list[str](), dict[str, str]()
    for begin, title in sorted(matches.titles.items()):
        site = ProbeSite(matches.names[begin], begin)
        reason = code.unprobeable(file, begin)
        if reason:
            try:
                site = replace(site, offset=code.entry(file, site))
            except UnreadableCodeError:
                refusals[title] = reason
                continue
        sites.append(site)
        titles.append(title)
    if not sites:
        name, reason = min(refusals.items())
        raise UnprobeableError(
            f"{name} begins with an instruction that cannot be probed: {reason}",
            refusals,
            hint="+OFFSET behind the name probes an instruction further on",
        )
    return FoundFunctions(tuple(sites), matches.left_out, tuple(titles), refusals)


@record
class _FoundFunctions:
    """By the offset of their first instruction, functions: the plainest name of each, and its title."""

    names: dict[int, str]
    titles: dict[int, str]
    left_out: tuple[str, ...]


def _find_functions(file: ProgramFile, pattern: str) -> _FoundFunctions:
    """Find the functions with a name or pattern. Raises as :func:`functions` does."""
    titles = dict[int, dict[str, str]]()
    indirect = set[str]()
    with file.reading() as elf_:
        for match in function_names.find(file, pattern):
            offset = elf_.offset_of(match.symbol.address)
            if match.symbol.is_indirect:
                indirect.add(match.symbol.name)
            elif offset is not None:
                titles.setdefault(offset, {})[match.title] = match.symbol.name
    if titles:
        short_titles = {
            offset: min(title.values(), key=lambda candidate: (len(candidate), candidate))
            for offset, title in titles.items()
        }
        joined_titles = {offset: "|".join(sorted(title)) for offset, title in titles.items()}
        return _FoundFunctions(short_titles, joined_titles, tuple(sorted(indirect)))
    if indirect:
        raise UsageError(
            f"{min(indirect)} of {file.name} is chosen among several functions when a program starts (IFUNC)",
            hint=f"the one that runs can be probed where it has a symbol, as in *{min(indirect)}*",
        )
    with file.reading() as elf_:
        if symtab.is_data(elf_, to_bytes(pattern)):
            raise UsageError(
                f"{pattern} of {file.name} is data, not a function",
                hint="a probe takes code; nm shows functions as T, t or W",
            )
        elsewhere = _hint_elsewhere(file, pattern)
        title = function_names.function_names(file)
        build_id = elf_.build_id()
    hint = "nm and nm -D list them"
    if not any(table.whole for table in file.symbols):
        build_text = f" (build id {build_id})" if build_id else ""
        hint = (
            f"it is stripped: install its debug symbols{build_text}, or say where in the file, as in +0x1040"
        )
    hint = elsewhere or hint
    if not title:
        raise UsageError(f"{file.name} has no symbols of functions", hint=hint)
    if elsewhere:
        raise UnknownNameError(f"function of {file.name}", pattern, title, hint=elsewhere)
    raise make_unknown_error(f"function of {file.name}", pattern, title, hint)


def _hint_elsewhere(file: ProgramFile, pattern: str) -> str:
    """Return a hint at a function of that name elsewhere: in this file as a C++ or Rust name, or in a library
    that the file loads; "" if there is none."""
    if quoting.is_pattern(pattern):
        return ""
    candidates = [quoting.quote(text) for text in function_names.as_in_source(file, pattern)]
    if candidates:
        return f"did you mean {' or '.join(sorted(set(candidates))[:3])}?"
    from pytracer.symbols import dynamic_linker, program_files

    for path in dynamic_linker.loaded(file.path)[1:]:
        with contextlib.suppress(PytracerError), program_files.find(path) as other, other.reading():
            if function_names.find(other, pattern):
                return f"it is in a library that {file.name} loads: {quoting.quote(path)}:{pattern}"
    return ""


def at_offset(file: ProgramFile, offset: int) -> ProbeSite:
    """Return a site by its offset in the file. Raises UsageError if no code is loaded from there, or an
    instruction of a known function began before; UnsupportedError if the kernel does not probe it."""
    if file.tables.address_of(offset) is None:
        raise UsageError(f"{file.name} has no code at offset {offset:#x}")
    _check(file, offset)
    return ProbeSite(f"+{offset:#x}", offset)


def _check(file: ProgramFile, offset: int, begin: int | None = None) -> None:
    """Raise an error if a probe at ``offset`` would break the program, or if the kernel refuses it.
    ``begin`` is the offset of its function, if that is known."""
    if begin is not None:
        code.check_boundary(file, begin, offset)
    if file.tables.address_of(offset) is None:
        raise UsageError(f"{file.name} has no code at offset {offset:#x}")
    if begin is None:
        code.check_offset(file, offset)
    reason = code.unprobeable(file, offset)
    if reason:
        raise UnsupportedError(f"{file.name}+{offset:#x}: {reason}")


def make_unknown_error(
    kind: str, name: str, names: Iterable[str], fallback_hint: str = ""
) -> UnknownNameError:
    """Return the error for an unknown name, with similar names; of a million, only some are compared."""
    stem = re.sub(r"[*?]+", "", name)
    distinct_names = sorted(set(names))
    if len(distinct_names) > _NEAR:
        candidates = (
            [candidate for candidate in distinct_names if stem.lower() in candidate.lower()] if stem else []
        )
        candidates += [n for n in distinct_names if n[:1] == stem[:1] and abs(len(n) - len(stem)) <= _SPREAD]
        distinct_names = list(dict.fromkeys(candidates))[:_NEAR]
    close_names = difflib.get_close_matches(stem, distinct_names, n=3)
    hint = f"did you mean {' or '.join(close_names)}?" if close_names else fallback_hint
    return UnknownNameError(kind, name, distinct_names, hint=hint)
