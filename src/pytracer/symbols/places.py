"""The functions of a file by name: where in the file each begins, which is what a uprobe is put on."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from pytracer.errors import UnknownNameError, UsageError
from pytracer.record import record, replace
from pytracer.spec import Spot
from pytracer.symbols import names, symtab, tables
from pytracer.symbols.files import ProgramFile

_NEAR = 2000  # names that an unknown one is compared to: a browser's file has a million
_SPREAD = 2  # characters that the length of a near name may differ by, among so many


@record
class Functions:
    """What a name or pattern stands for. ``left_out`` are functions that match, but tell nothing; ``titles``
    what users call each of the spots: all its names that match, with ``|`` between them."""

    spots: tuple[Spot, ...]
    left_out: tuple[str, ...] = ()
    titles: tuple[str, ...] = ()

    @property
    def note(self) -> str:
        """What is not seen by these; "" where they are all."""
        if not self.left_out:
            return ""
        names = ", ".join(self.left_out[:5]) + (", ..." if len(self.left_out) > 5 else "")
        return f"not seen, since another is chosen for each when a program starts (IFUNC): {names}"


def find(file: ProgramFile, what: str, *, at_return: bool = False) -> Functions:
    """Places of a file: a function's name or pattern, ``name+0x10`` inside of one, ``+0x1040`` in the file.

    Raises UsageError (UnknownNameError) as :func:`functions` does, and where no code is there.
    """
    inside = re.fullmatch(r"(.*)\+(0x[0-9a-fA-F]+|\d+)", what, re.DOTALL)
    if inside is None:
        return functions(file, what)
    if at_return:
        raise UsageError(f"{what} is no function: what returns is probed from its beginning")
    name, distance = inside[1], int(inside[2], 0)
    if not name:
        return Functions((at_offset(file, distance),), titles=("",))
    found = functions(file, name)
    return Functions(
        tuple(replace(at_offset(file, spot.offset + distance), name=what) for spot in found.spots),
        titles=found.titles,
    )


def functions(file: ProgramFile, pattern: str) -> Functions:
    """The functions of a file by name or pattern, each place once, in the order of the file.

    Raises UsageError (UnknownNameError) where there is none, where the file has no symbols, and where what
    the name stands for is only chosen when a program starts.
    """
    titles = dict[int, dict[str, str]]()
    indirect = set[str]()
    with file.reading() as elf_:
        for match in names.find(file, pattern):
            offset = elf_.offset_of(match.symbol.address)
            if match.symbol.is_indirect:
                indirect.add(match.symbol.name)
            elif offset is not None:
                titles.setdefault(offset, {})[match.title] = match.symbol.name
    if titles:
        plainest = {
            offset: min(known.values(), key=lambda each: (len(each), each))
            for offset, known in titles.items()
        }
        return Functions(
            tuple(Spot(plainest[offset], offset) for offset in sorted(titles)),
            tuple(sorted(indirect)),
            tuple("|".join(sorted(titles[offset])) for offset in sorted(titles)),
        )
    if indirect:
        raise UsageError(
            f"{min(indirect)} of {file.name} is chosen among several functions when a program starts (IFUNC)",
            hint=f"the one that runs can be probed where it has a symbol, as in *{min(indirect)}*",
        )
    with file.reading() as elf_:
        known = names.written(file)
        build_id = elf_.build_id()
    where = "nm and nm -D list them"
    if symtab.SYMTAB not in file.tables.sections["type"]:
        which = f" (build id {build_id})" if build_id else ""
        where = f"it is stripped: install its debug symbols{which}, or say where in the file, as in +0x1040"
    if not known:
        raise UsageError(f"{file.name} has no symbols of functions", hint=where)
    raise unknown(f"function of {file.name}", pattern, known, where)


def at_offset(file: ProgramFile, offset: int) -> Spot:
    """A place by its offset in the file. Raises UsageError where no code is loaded from there."""
    for segment in file.tables.loaded(tables.EXECUTABLE):
        if 0 <= offset - int(segment["offset"]) < int(segment["filesz"]):
            return Spot(f"+{offset:#x}", offset)
    raise UsageError(f"{file.name} has no code at offset {offset:#x}")


def unknown(what: str, name: str, known: Iterable[str], where: str = "") -> UnknownNameError:
    """The error for a name that nothing bears, with the near ones: of a million, those that look alike."""
    plain = re.sub(r"[*?]+", "", name)
    every = sorted(set(known))
    if len(every) > _NEAR:
        alike = [each for each in every if plain.lower() in each.lower()] if plain else []
        alike += [n for n in every if n[:1] == plain[:1] and abs(len(n) - len(plain)) <= _SPREAD]
        every = list(dict.fromkeys(alike))[:_NEAR]
    near = difflib.get_close_matches(plain, every, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else where
    return UnknownNameError(what, name, every, hint=hint)
