"""Find functions of programs and their USDT probes: the files, and the offsets in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from pytracer.errors import UnprobeableError
from pytracer.kernel.facts import FoundTargets, NamedTarget
from pytracer.record import replace
from pytracer.spec import ProbeSite, Source, quoting
from pytracer.symbols import dynamic_linker, function_names, places, program_files, usdt
from pytracer.symbols.program_files import ProgramFile

INDIRECT = "of which another is chosen when a program starts (IFUNC)"


def find(source: Source) -> FoundTargets:
    """See :func:`pytracer.targets.find`."""
    return _find_marks(source) if source.kind == "usdt" else _find_functions(source)


def _find_functions(source: Source) -> FoundTargets:
    with _open_file(source, source.place) as file:
        offset_text = f"+{source.offset:#x}" if source.offset else ""
        try:
            matches = places.find(file, source.name + offset_text)
        except UnprobeableError as error:
            error.refused = _add_place(source, error.refused)
            raise
        targets = (
            NamedTarget(f"{source.place}:{title}", sites=_add_file(file, [site]))
            for title, site in zip(matches.titles, matches.sites, strict=True)
        )
        count = len(matches.left_out)
        skipped = {f"function{'s' * (count > 1)} {INDIRECT}": count} if count else {}
        return FoundTargets(
            tuple(targets),
            skipped,
            _add_place(source, matches.refused),
            _list_versions(file, source, matches),
        )


def _list_versions(file: ProgramFile, source: Source, matches: places.FoundFunctions) -> tuple[str, ...]:
    """Return the versions that the compiler made of a function that is named."""
    if source.is_pattern or source.offset:
        return ()
    names = dict.fromkeys(site.name for site in matches.sites)
    with file.reading():
        return tuple(version for name in names for version in function_names.compiled_versions(file, name))


def _add_place(source: Source, refusals: Mapping[str, str]) -> dict[str, str]:
    """Add the same probe sites by names that a user can give after ``u:``."""
    return {f"{source.place}:{title}": reason for title, reason in refusals.items()}


def _find_marks(source: Source) -> FoundTargets:
    *path, provider = quoting.split(source.place, ":")
    file = ":".join(path)
    if not file and "/" in provider:
        file, provider = provider, ""
    sites = dict[str, list[ProbeSite]]()
    for program_file, marks in _iter_files(source, file, provider):
        for mark in marks:
            title = f"{file}:{mark.title}" if file else mark.title
            sites.setdefault(title, []).extend(_add_file(program_file, [mark.site]))
    return FoundTargets(
        tuple(NamedTarget(title, sites=tuple(site_list)) for title, site_list in sites.items())
    )


def _iter_files(
    source: Source, file: str, provider: str
) -> Iterator[tuple[ProgramFile, list[usdt.UsdtProbe]]]:
    """Yield the files with matching USDT probes, and the probes; each is closed when the next is
    requested."""
    if file:
        with _open_file(source, file) as program_file:
            yield program_file, usdt.find(program_file, provider, source.name)
    elif source.command:
        yield from usdt.in_command(source.command, provider, source.name)
    else:
        yield from usdt.in_process(source.process, provider, source.name)


def _open_file(source: Source, quoted_name: str) -> ProgramFile:
    """Open the named file: a library or program by name is the one that the command will load."""
    name = quoting.unquote(quoted_name)
    if source.command and "/" not in name:
        name = dynamic_linker.resolve_library(name, source.command) or name
    return program_files.find(name, source.process)


def _add_file(file: ProgramFile, sites: Iterable[ProbeSite]) -> tuple[ProbeSite, ...]:
    return tuple(replace(site, file=file.name, holder=file.holder, identity=file.identity) for site in sites)
