"""Functions of programs and their USDT probes: in which files what a user names is, and where."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from pytracer.errors import UnprobeableError
from pytracer.kernel.facts import Found, Target
from pytracer.record import replace
from pytracer.spec import Source, Spot, quoting
from pytracer.symbols import files, loader, places, usdt
from pytracer.symbols.files import ProgramFile

INDIRECT = "of which another is chosen when a program starts (IFUNC)"


def find(source: Source) -> Found:
    """See :func:`pytracer.targets.find`."""
    return _marks(source) if source.kind == "usdt" else _functions(source)


def _functions(source: Source) -> Found:
    with _file(source, source.place) as file:
        at = f"+{source.offset:#x}" if source.offset else ""
        try:
            found = places.find(file, source.name + at)
        except UnprobeableError as error:
            error.refused = _placed(source, error.refused)
            raise
        targets = (
            Target(f"{source.place}:{title}", spots=_of(file, [spot]))
            for title, spot in zip(found.titles, found.spots, strict=True)
        )
        count = len(found.left_out)
        skipped = {f"function{'s' * (count > 1)} {INDIRECT}": count} if count else {}
        return Found(tuple(targets), skipped, _placed(source, found.refused))


def _placed(source: Source, refused: Mapping[str, str]) -> dict[str, str]:
    """The same by names that a user can give after ``u:``."""
    return {f"{source.place}:{title}": reason for title, reason in refused.items()}


def _marks(source: Source) -> Found:
    *path, provider = quoting.split(source.place, ":")
    file = ":".join(path)
    if not file and "/" in provider:
        file, provider = provider, ""
    spots = dict[str, list[Spot]]()
    for found, marks in _files(source, file, provider):
        for mark in marks:
            title = f"{file}:{mark.title}" if file else mark.title
            spots.setdefault(title, []).extend(_of(found, [mark.spot]))
    return Found(tuple(Target(title, spots=tuple(of)) for title, of in spots.items()))


def _files(source: Source, file: str, provider: str) -> Iterator[tuple[ProgramFile, list[usdt.Mark]]]:
    """The files that have marks of these names, and those; each is closed when the next is asked for."""
    if file:
        with _file(source, file) as found:
            yield found, usdt.find(found, provider, source.name)
    elif source.command:
        yield from usdt.in_command(source.command, provider, source.name)
    else:
        yield from usdt.in_process(source.process, provider, source.name)


def _file(source: Source, written: str) -> ProgramFile:
    """The file that is meant: of libraries and programs by name, the one that the command will load."""
    name = quoting.unquote(written)
    if source.command and "/" not in name:
        name = loader.find(name, source.command) or name
    return files.find(name, source.process)


def _of(file: ProgramFile, spots: Iterable[Spot]) -> tuple[Spot, ...]:
    return tuple(replace(spot, file=file.name, holder=file.holder, identity=file.identity) for spot in spots)
