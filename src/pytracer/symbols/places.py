"""The functions of a file by name: where in the file each begins, which is what a uprobe is put on."""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterable, Iterator

from pytracer.arrays import Array, np
from pytracer.budget import Account
from pytracer.errors import UnknownNameError, UsageError
from pytracer.record import record, replace
from pytracer.spec import Spot
from pytracer.symbols import debug, elf, tables
from pytracer.symbols.files import ProgramFile
from pytracer.symbols.tables import Tables

_NEAR = 2000  # names that an unknown one is compared to: a browser's file has a million
_KNOWN = 1_000_000  # names that the near ones are looked for among
_SPOT = 400  # bytes that a function takes, without its name
_OFTEN = 4096  # symbols after which time is looked at
_SPREAD = 2  # characters that the length of a near name may differ by, among so many


@record
class Functions:
    """What a name or pattern stands for. ``left_out`` are functions that match, but tell nothing."""

    spots: tuple[Spot, ...]
    left_out: tuple[str, ...] = ()

    @property
    def note(self) -> str:
        """What is not seen by these; "" where they are all."""
        if not self.left_out:
            return ""
        names = ", ".join(self.left_out[:5]) + (", ..." if len(self.left_out) > 5 else "")
        return f"not seen, since another is chosen for each when a program starts (IFUNC): {names}"


def is_pattern(name: str) -> bool:
    """Whether a name stands for any number: ``*`` is any text, ``?`` one character."""
    return "*" in name or "?" in name


def matcher(pattern: str) -> re.Pattern[str]:
    """What a whole name is to be like."""
    words = {"*": ".*", "?": "."}
    return re.compile("".join(words.get(c) or re.escape(c) for c in pattern), re.DOTALL)


def find(file: ProgramFile, what: str, *, at_return: bool = False) -> Functions:
    """Places of a file: a function's name or pattern, ``name+0x10`` inside of one, ``+0x1040`` in the file.

    Raises UsageError (UnknownNameError) as :func:`functions` does, and where no code is there.
    """
    inside = re.fullmatch(r"(.*)\+(0x[0-9a-fA-F]+|\d+)", what)
    if inside is None:
        return functions(file, what)
    if at_return:
        raise UsageError(f"{what} is no function: what returns is probed from its beginning")
    name, distance = inside[1], int(inside[2], 0)
    if not name:
        return Functions((at_offset(file, distance),))
    spots = functions(file, name).spots
    return Functions(tuple(replace(at_offset(file, spot.offset + distance), name=what) for spot in spots))


def functions(file: ProgramFile, pattern: str) -> Functions:
    """The functions of a file by name or pattern, each place once, in the order of the file.

    Raises UsageError (UnknownNameError) where there is none, where the file has no symbols, and where what
    the name stands for is only chosen when a program starts.
    """
    wanted = matcher(pattern)
    names = dict[int, str]()
    indirect = set[str]()
    with file.reading() as elf_:
        for name, address, is_indirect in _functions(elf_, "" if is_pattern(pattern) else pattern):
            if not wanted.fullmatch(name):
                continue
            offset = elf_.offset_of(address)
            if is_indirect:
                indirect.add(name)
            elif offset is not None:
                elf_.account.charge(entries=1, memory=_SPOT + len(name))
                names[offset] = min(names.get(offset, name), name, key=lambda each: (len(each), each))
    if names:
        spots = tuple(Spot(name, offset) for offset, name in sorted(names.items()))
        return Functions(spots, tuple(sorted(indirect)))
    if indirect:
        raise UsageError(
            f"{min(indirect)} of {file.name} is chosen among several functions when a program starts (IFUNC)",
            hint=f"the one that runs can be probed where it has a symbol, as in *{min(indirect)}*",
        )
    with file.reading() as elf_:
        known = [name for name, _, _ in itertools.islice(_functions(elf_, ""), _KNOWN)]
        build_id = elf_.build_id()
    where = "nm and nm -D list them"
    if elf.SYMTAB not in file.tables.sections["type"]:
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
    names = sorted(set(known))
    if len(names) > _NEAR:
        alike = [each for each in names if plain.lower() in each.lower()] if plain else []
        alike += [n for n in names if n[:1] == plain[:1] and abs(len(n) - len(plain)) <= _SPREAD]
        names = list(dict.fromkeys(alike))[:_NEAR]
    near = difflib.get_close_matches(plain, names, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else where
    return UnknownNameError(what, name, names, hint=hint)


def _functions(file: Tables, only: str) -> Iterator[tuple[str, int, bool]]:
    """The (name, address, whether it is an IFUNC) of functions in the file, and in that of its symbols where
    they were taken out; with ``only``, of this name."""
    whole = False
    for symbols, strings, is_whole in elf.symbol_tables(file):
        whole = whole or is_whole
        yield from _of_table(symbols, strings, only, file.account)
    if not whole:
        with debug.separate(file.build_id(), file.account) as beside, debug.packed(file) as within:
            for other in (beside, within):
                for symbols, strings, _ in elf.symbol_tables(other) if other is not None else ():
                    yield from _of_table(symbols, strings, only, file.account)


def _of_table(symbols: Array, strings: bytes, only: str, account: Account) -> Iterator[tuple[str, int, bool]]:
    kept = elf.defined_functions(symbols, strings)
    if only:
        kept &= np.isin(symbols["name"], _places_of(only.encode(), strings))
    for number, symbol in enumerate(symbols[kept]):
        if number % _OFTEN == 0:
            account.check()
        name = tables.name_at(strings, int(symbol["name"])).partition("@")[0]  # open@@GLIBC_2.2
        yield name, int(symbol["value"]), int(symbol["info"]) & 0xF == elf.IFUNC


def _places_of(name: bytes, strings: bytes) -> list[int]:
    """Where a name stands in a table of strings. Names that end alike may share their end."""
    found = re.finditer(re.escape(name) + rb"(?=[\0@])", strings)
    return [match.start() for match in itertools.islice(found, _KNOWN)]
