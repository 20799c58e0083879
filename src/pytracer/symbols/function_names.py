"""Find functions of a file by the user's word: a name, a pattern, UNIT:NAME, or a name as in the source.

Several functions may have one name: static ones of several units, and versions of one for linking. The
title of each is the first of these that is unique: ``NAME@@VERSION``, ``UNIT:NAME``, ``NAME@2`` (by
address).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from pytracer.arrays import np
from pytracer.budget import Account
from pytracer.record import record, replace
from pytracer.spec import quoting
from pytracer.symbols import demangle, elf_tables, symtab
from pytracer.symbols.program_files import ProgramFile
from pytracer.text import from_bytes, to_bytes

_VERSION = re.compile(r"(?P<name>.+?)(?P<version>@@?[A-Za-z_][\w.+-]*)", re.DOTALL)
_NUMBER = re.compile(r"(?P<name>.+)@(?P<number>[1-9]\d*)", re.DOTALL)
_WORD = re.compile(r"(?<!\w)[^\W\d]\w{2,}")  # no numbers: 100ul is Lm100E in a symbol
# What demanglers write that is not in the symbol: keywords, types with a letter of their own, short names
# of the standard library, and words for what the compiler made.
_UNTOLD = frozenset(
    re.findall(
        r"\w+",
        """
        auto bool char char8_t char16_t char32_t const decltype delete double enable_if explicit false
        float int long new noexcept nullptr operator requires short signed sizeof template this throw
        true typename unsigned void volatile wchar_t __float128 __int128 _Float16 _Float32 _Float64
        _Float128 decimal32 decimal64 decimal128 half abi allocator basic_iostream basic_istream
        basic_ostream basic_string char_traits iostream istream nullptr_t ostream std string anonymous
        block clone construction for function guard initialization invocation lambda lambda0 name
        namespace non reference restrict routine temporary thread thunk typeinfo unnamed variable
        virtual vtable wrapper VTT dyn extern impl mut never shim closure str usize isize i16 i32 i64
        i128 u16 u32 u64 u128 f16 f32 f64 f128
        """,
    )
)
_VERSIONS = 16  # of a function
_KNOWN = 1_000_000  # names that the near ones are looked for among
_SYMBOL = 400  # bytes that a function takes, without its name
_OFTEN = 4096  # symbols after which time is looked at
_LOOKED_UP = 256  # functions whose unit is looked up in debug information


@record
class Symbol:
    """A name of a function. ``suffix`` is its version (``@@V``, or ``@V`` if programs are no longer linked
    to it), ``unit`` the file that it was compiled from, if the symbol table names it. ``is_label``: it has
    no type."""

    name: str
    address: int
    suffix: str = ""
    unit: str = ""
    is_indirect: bool = False
    is_label: bool = False
    is_local: bool = False


@record
class Match:
    """A symbol that matched, and a title that is unique to it."""

    symbol: Symbol
    title: str


def symbols(file: ProgramFile, accept: Callable[[str], object], exact_name: str = "") -> list[Symbol]:
    """Return the functions of a file whose names are accepted, or only those named ``exact_name``. Each name
    and address appears once; the cost is charged to the file's account."""
    by_key = dict[tuple[str, int], Symbol]()
    for table in file.symbols:
        for symbol in _match_table(table, accept, exact_name, file.tables.account):
            existing = by_key.get((symbol.name, symbol.address))
            if existing is None or (not existing.suffix and symbol.suffix) or existing.is_label:
                unit = symbol.unit or (existing.unit if existing else "")
                by_key[symbol.name, symbol.address] = replace(symbol, unit=unit)
    return list(by_key.values())


def functions_named(file: ProgramFile, name: str) -> list[Symbol]:
    """Return the functions with that name."""
    return symbols(file, lambda _: True, name)


def compiled_versions(file: ProgramFile, name: str) -> list[str]:
    """Return the names of versions that the compiler made of a function for some of its callers, which call
    them instead: ``name.constprop.0``, ``name.isra.0``."""
    begin, versions = to_bytes(name), set[str]()
    for table, kind in itertools.product(file.symbols, (b".constprop.", b".isra.")):
        position = table.strings.find(begin + kind)
        while position >= 0 and len(versions) < _VERSIONS:
            if table.strings[position - 1 : position] in (b"", b"\0"):
                versions.add(elf_tables.name_at(table.strings, position))
            position = table.strings.find(begin + kind, position + 1)
    return sorted(versions)


def function_names(file: ProgramFile) -> list[str]:
    """Return the names of the functions of a file, quoted as users write them."""
    all_symbol_names = (
        elf_tables.name_at(table.strings, name_offset)
        for table in file.symbols
        for name_offset in table.names.tolist()
    )
    return [quoting.quote(name.partition("@")[0]) for name in itertools.islice(all_symbol_names, _KNOWN)]


def find(file: ProgramFile, wanted_name: str) -> list[Match]:
    """Find the functions that a user's text names; none if there are none. An exact name is never a
    pattern."""
    for reading in (_find_literal, _find_either, _match_unit, _find_pattern, _match_source_name):
        matches = list(reading(file, wanted_name))
        if matches:
            return matches
    return []


def as_in_source(file: ProgramFile, wanted_name: str) -> list[str]:
    """Return the full names of C++ and Rust functions whose last part is ``wanted_name``."""
    last = re.compile(rf"(?:.*\W)?{re.escape(quoting.unquote(wanted_name))}", re.DOTALL)
    return [
        text
        for _, text in _match_demangled(file, wanted_name)
        if any(map(last.fullmatch, _spell_variants(text)))
    ]


def _find_literal(file: ProgramFile, wanted_name: str) -> Iterator[Match]:
    """Find a name, which may be in quotes, with a version or a number behind it."""
    for name in dict.fromkeys((wanted_name, quoting.unquote(wanted_name))):
        same_name = functions_named(file, name)
        if same_name:
            yield from _add_titles(file, same_name, same_name)
            return
    if match := _VERSION.fullmatch(wanted_name):
        same_name = functions_named(file, quoting.unquote(match["name"]))
        version = match["version"].lstrip("@")
        yield from _add_titles(
            file, [symbol for symbol in same_name if symbol.suffix.lstrip("@") == version], same_name
        )
    elif match := _NUMBER.fullmatch(wanted_name):
        same_name = functions_named(file, quoting.unquote(match["name"]))
        addresses = sorted({symbol.address for symbol in same_name})
        number = int(match["number"])
        if number <= len(addresses):
            matches = [symbol for symbol in same_name if symbol.address == addresses[number - 1]]
            yield from _add_titles(file, matches, same_name)


def _find_either(file: ProgramFile, wanted_name: str) -> Iterator[Match]:
    parts = quoting.split(wanted_name, "|")
    if len(parts) > 1:
        for part in parts:
            yield from find(file, part) if part else ()


def _match_unit(file: ProgramFile, wanted_name: str) -> Iterator[Match]:
    *unit, name = quoting.split(wanted_name, ":")
    if not unit or not name:
        return
    like = ":".join(unit)
    pattern = re.compile(f"(?:.*/)?(?:{quoting.matcher(like).pattern})", re.DOTALL)
    matches = find(file, name)
    selected = [match for match in matches if pattern.fullmatch(match.symbol.unit)]
    if len({match.symbol.address for match in selected}) != 1:
        units_by_address = _find_units(file, [match.symbol for match in matches])
        selected = [
            m for m in matches if pattern.fullmatch(units_by_address.get(m.symbol.address, m.symbol.unit))
        ] or selected
    yield from selected


def _find_pattern(file: ProgramFile, wanted_name: str) -> Iterator[Match]:
    """Find all names that match. Local labels are left out: they may be data."""
    if not quoting.is_pattern(wanted_name):
        return
    pattern = quoting.matcher(wanted_name)
    if "@" in wanted_name:
        matches = [symbol for symbol in symbols(file, bool) if pattern.fullmatch(symbol.name + symbol.suffix)]
    else:
        matches = symbols(file, pattern.fullmatch)
    yield from _add_titles(file, [symbol for symbol in matches if not (symbol.is_label and symbol.is_local)])


def _match_source_name(file: ProgramFile, wanted_name: str) -> Iterator[Match]:
    """Find C++ and Rust names as in the source, with or without parameters, also by a pattern."""
    names = {wanted_name, quoting.unquote(wanted_name)}
    candidates = [(symbol, _spell_variants(text)) for symbol, text in _match_demangled(file, wanted_name)]
    matches = [symbol for symbol, forms in candidates if forms & names]
    if not matches and quoting.is_pattern(
        wanted_name
    ):  # no star is a pattern's in f(char*), where there is that f
        pattern = quoting.matcher(wanted_name)
        matches = [symbol for symbol, forms in candidates if any(map(pattern.fullmatch, forms))]
    for symbol in matches:
        yield from _add_titles(file, [symbol])


def _match_demangled(file: ProgramFile, wanted_name: str) -> Iterator[tuple[Symbol, str]]:
    """Yield the C++ and Rust symbols that contain all words of the text, each with its demangled name."""
    words = [word for word in _WORD.findall(wanted_name) if word not in _UNTOLD]
    candidates = symbols(
        file,
        lambda name: name.startswith(demangle.PREFIXES) and all(word in name for word in words),
    )
    names = demangle.Demangler().names((symbol.name for symbol in candidates), file.tables.account)
    yield from zip(candidates, names, strict=True)


def _spell_variants(text: str) -> set[str]:
    """Return the ways to write a function, given its demangled name: ``int ns::f<int>(int)``, without the
    return type (shown for templates alone), without parameters, and without template arguments."""
    end = demangle.find_opening(text, text.rfind(")"), "()")
    name = text[:end] if end > 0 else text
    forms = {text, name}
    if "operator" not in name:
        begin = demangle.find_last_blank(name) + 1
        forms |= {text[begin:], name[begin:]}
        if name.endswith(">"):
            forms.add(name[begin : max(demangle.find_opening(name, len(name) - 1, "<>"), begin + 1)])
    return forms


def _add_titles(
    file: ProgramFile, matches: Sequence[Symbol], all_symbols: Iterable[Symbol] | None = None
) -> Iterator[Match]:
    """Yield each symbol with its title: its name alone if all symbols with that name are one function.
    ``all_symbols`` are all symbols with these names, if they were looked up already."""
    if all_symbols is None:
        names = {symbol.name for symbol in matches}
        all_symbols = symbols(file, names.__contains__, matches[0].name if len(names) == 1 else "")
    symbols_by_title = dict[str, dict[int, Symbol]]()
    for symbol in all_symbols:
        symbols_by_title.setdefault(symbol.name, {})[symbol.address] = symbol
    for symbol in matches:
        yield Match(symbol, _make_title(file, symbol, symbols_by_title.get(symbol.name, {})))


def _make_title(file: ProgramFile, symbol: Symbol, symbols_by_address: dict[int, Symbol]) -> str:
    wanted_name = quoting.quote(symbol.name)
    other_symbols = [other for address, other in symbols_by_address.items() if address != symbol.address]
    if not other_symbols:
        return wanted_name
    if symbol.suffix and symbol.suffix not in {other.suffix for other in other_symbols}:
        return wanted_name + symbol.suffix
    if symbol.unit and symbol.unit not in {other.unit for other in other_symbols}:
        return f"{quoting.quote(symbol.unit)}:{wanted_name}"
    units_by_address = _find_units(file, [symbol, *other_symbols])
    unit = units_by_address.pop(symbol.address, "")
    if unit and unit not in units_by_address.values():
        return f"{quoting.quote(unit)}:{wanted_name}"
    return f"{wanted_name}@{sorted(symbols_by_address).index(symbol.address) + 1}"


def _find_units(file: ProgramFile, same_title: Sequence[Symbol]) -> dict[int, str]:
    """Return the units of functions by address, by debug information: of a few, since that takes long to
    read."""
    if len(same_title) > _LOOKED_UP:
        return {}
    from pytracer.symbols import dwarf

    return dwarf.unit_names(file.tables, [symbol.address for symbol in same_title])


def _match_table(
    table: symtab.SymbolTable, accept: Callable[[str], object], exact_name: str, account: Account
) -> Iterator[Symbol]:
    indices = np.arange(len(table))
    if exact_name:
        exact_name = from_bytes(raw := to_bytes(exact_name))
        places = symtab.name_offsets_of(raw, table.strings)
        indices = indices[np.isin(table.names, places)]
    kinds, bindings = table.kinds, table.bindings
    for number, index in enumerate(indices.tolist()):
        if number % _OFTEN == 0:
            account.check()
        full_name = elf_tables.name_at(table.strings, int(table.names[index]))
        name, mark, version = full_name.partition("@")  # open@@GLIBC_2.2, as .symtab has it
        if not name or (exact_name and name != exact_name) or not accept(name):
            continue
        account.charge(entries=1, memory=_SYMBOL + len(name))
        unit = int(table.units[index])
        yield Symbol(
            name,
            int(table.starts[index]),
            mark + version if mark else table.suffixes[int(table.versions[index])],
            elf_tables.name_at(table.strings, unit) if unit else "",
            int(kinds[index]) == symtab.IFUNC,
            int(kinds[index]) == symtab.UNTYPED,
            int(bindings[index]) == 0,
        )
