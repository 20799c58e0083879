"""Parse a script: probes with predicates and blocks, macros, settings."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pytracer.errors import ProbeSpecError
from pytracer.lang.lexer import END, NAME, NUMBER, TEXT
from pytracer.lang.script import syntax
from pytracer.lang.script.positions import with_positions
from pytracer.lang.script.settings import SETTINGS, hint_for, setting_name
from pytracer.lang.script.struct_parser import StructParser
from pytracer.lang.script.tokens import RULES
from pytracer.lang.syntax import Node
from pytracer.record import replace

_POINT = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^\s,{"])+')
_POINT_NAME = re.compile(r"[A-Za-z_]\w*=(?=\S)")
_WITH_PATHS = ("uprobe", "u", "uretprobe", "ur", "usdt", "U", "watchpoint", "w", "asyncwatchpoint", "aw")
_DIRECTIVE = re.compile(r"^[ \t]*#[ \t]*(?P<word>\S+)[^\n]*", re.M)
_DEFINE = re.compile(
    r"#\s*define\s+(?P<name>\w+)\s+\(?(?P<value>-?(?:0x[0-9a-fA-F]+|\d+))[uUlL]*\)?(?:\s*(?://.*|/\*.*\*/\s*))?"
)
MAP_KINDS = ("hash", "lruhash", "percpuhash", "percpulruhash")


class ScriptParser(StructParser):
    """Parses a whole script. Its methods raise ProbeSpecError, which points into the text."""

    def __init__(self, text: str, *, is_imported: bool = False) -> None:
        super().__init__(text, 0, RULES)
        self._is_imported = is_imported
        self._macros = dict[tuple[str, int], syntax.Macro]()

    def script(self) -> syntax.Script:
        """Parse the whole script."""
        probes, config = list[syntax.ProbeBlock](), dict[str, str]()
        constants = list(self._constants())
        maps, structs = list[syntax.MapDeclaration](), list[syntax.StructDefinition]()
        enums, imports = list[syntax.EnumDefinition](), list[syntax.Import]()
        while self.next.kind != END:
            word = self.next
            if word.text == "config" and self._ahead(1).text == "=":
                if self._is_imported:
                    raise self.fail("an imported script has no settings")
                config |= self._config()
            elif word.text == "macro" and self._ahead(1).kind == NAME:
                macro = self._macro()
                self._macros[macro.name, len(macro.parameters)] = macro
            elif word.text == "import":
                imports.append(self._import())
            elif word.text in ("struct", "union") and self._ahead(2).text == "{":
                structs += self.struct_definitions()
            elif word.text == "let":
                maps.append(self._map_declaration())
            elif word.text == "enum":
                enums.append(self._enum(len(enums)))
            elif word.text in ("struct", "union", "typedef", "fn", "subprog"):
                raise self.fail(f"a script cannot define a {word.text} here")
            else:
                probes.append(self._probe())
        if not probes and not self._is_imported:
            raise ProbeSpecError(
                "there is no probe", self.text, 0, max(len(self.text), 1), hint="PROBE { ... }"
            )
        return syntax.Script(
            self.text,
            tuple(probes),
            config,
            self._macros,
            tuple(maps),
            tuple(structs),
            tuple(constants),
            tuple(enums),
            tuple(imports),
        )

    def _constants(self) -> tuple[tuple[str, int], ...]:
        """Return the numbers that ``#define`` names. Raises ProbeSpecError for other directives than
        ``#define`` and ``#include``."""
        constants = list[tuple[str, int]]()
        for match in _DIRECTIVE.finditer(self.text):
            if match["word"] in ("include", "!", "pragma") or match["word"].startswith("!"):
                continue
            define = _DEFINE.fullmatch(match.group().strip())
            if define is None:
                message = "of the preprocessor, only #define NAME NUMBER is supported"
                raise ProbeSpecError(message, self.text, match.start(), match.end())
            constants.append((define["name"], int(define["value"], 0)))
        return tuple(constants)

    def _enum(self, number: int) -> syntax.EnumDefinition:
        """Parse ``enum NAME { A, B = 2 };``."""
        start = self.take().start
        enum = self.take().text if self.next.kind == NAME else f"#{number}"
        self.expect("{")
        constants, value = list[tuple[str, int]](), 0
        while not self.at("}"):
            name = self.take().text
            if self.skip("="):
                negative = self.skip("-")
                value = int(self.take().value or 0) * (-1 if negative else 1)
            constants.append((name, value))
            value += 1
            if not self.skip(","):
                break
        end = self.expect("}").end
        self.skip(";")
        return syntax.EnumDefinition(start, end, enum, tuple(constants))

    def _import(self) -> syntax.Import:
        """Parse ``import "path";``."""
        start = self.take().start
        if self.next.kind != TEXT:
            raise self.unexpected('import "FILE.bt";')
        path = self.take()
        self.skip(";")
        return syntax.Import(start, path.end, str(path.value))

    def _map_declaration(self) -> syntax.MapDeclaration:
        start = self.take().start
        name = self.take()
        self.expect("=")
        kind = self.take()
        self.expect("(")
        capacity = self.take()
        end = self.expect(")").end
        self.skip(";")
        if kind.text not in MAP_KINDS or capacity.kind != NUMBER:
            hint = f"let @name = KIND(ENTRIES); kinds are {', '.join(MAP_KINDS)}"
            raise ProbeSpecError("this declares no map", self.text, start, end, hint=hint)
        return syntax.MapDeclaration(start, end, name.text, kind.text, int(capacity.value))

    def _config(self) -> dict[str, str]:
        self.take()
        self.expect("=")
        self.expect("{")
        settings = dict[str, str]()
        while not self.skip("}"):
            name = self.next
            if name.kind != NAME:
                raise self.unexpected("NAME = VALUE")
            self.take()
            key = setting_name(name.text)
            self.expect("=", "after the name of a setting")
            value = self.take()
            if key not in SETTINGS:
                message = f"{name.text}: not a known configuration option"
                raise ProbeSpecError(message, self.text, name.start, value.end, hint=hint_for(key))
            text = value.text if value.kind == NAME else str(value.value)
            try:
                settings[key] = SETTINGS[key].check(text)
            except ValueError as error:
                message = f"Invalid value for {key}. Found: {text}. Valid values: {error}."
                raise ProbeSpecError(message, self.text, name.start, value.end) from None
            if not self.skip(";") and not self.skip(",") and not self.at("}"):
                raise self.fail("';' is missing here after a setting")
        self.skip(";")
        return settings

    def _macro(self) -> syntax.Macro:
        start = self.take().start
        name = self.take()
        self.expect("(")
        parameters = list[str]()
        while not self.skip(")"):
            if parameters:
                self.expect(",")
            parameters.append(self.take().text)
        body = self.block_expression()
        return syntax.Macro(start, body.end, name.text, tuple(parameters), body)

    def _probe(self) -> syntax.ProbeBlock:
        points = [self._point()]
        while self.skip(","):
            if self.at("{") or self.at("/"):
                break
            points.append(self._point())
        predicate: Node | None = None
        if self.at("/"):
            self.take()
            predicate = self.expression()
            self.expect("/", "after the predicate")
        if not self.at("{"):
            raise self.fail("'{' is missing here", hint="PROBE /PREDICATE/ { ... }")
        body = self.block()
        return syntax.ProbeBlock(points[0].start, body.end, tuple(points), predicate, body)

    def _point(self) -> syntax.AttachPoint:
        start = self.next.start
        named = _POINT_NAME.match(self.text, start)  # NAME=PROBE: the name means nothing yet
        start = named.end() if named else start
        match = _POINT.match(self.text, start)
        if match is None:
            raise self.unexpected("a probe, as in kprobe:vfs_read")
        text = match.group()
        provider = text.partition(":")[0]
        if provider not in _WITH_PATHS and not provider.startswith("$") and "/" in text:
            text = text[: text.index("/")]
        elif text.count(":") > 1 and "/" in text.rpartition(":")[2]:  # a predicate, without a blank before it
            text = text[: text.index("/", text.rindex(":"))]
        end = start + len(text)
        if not text:
            raise self.unexpected("a probe, as in kprobe:vfs_read")
        self.seek(end)
        self.taken = end
        return syntax.AttachPoint(start, end, text, tuple(split_point(text)))


def preprocess(text: str) -> str:
    """Blank the parts of a script that ``#ifdef`` and ``#ifndef`` exclude; offsets stay the same.

    Raises ProbeSpecError for any other condition.
    """
    if "#" not in text:
        return text
    lines, stack = list[str](), list[bool]()
    defined, start = {"BPFTRACE_HAVE_BTF", "BPFTRACE_HAVE_UTS_BTF"}, 0
    for line in text.splitlines(keepends=True):
        match = _DIRECTIVE.match(line)
        word, rest = (match["word"], line.partition(match["word"])[2].strip()) if match else ("", "")
        if word in ("ifdef", "ifndef"):
            stack.append((rest in defined) == (word == "ifdef"))
        elif word == "else" and stack:
            stack[-1] = not stack[-1]
        elif word == "endif" and stack:
            stack.pop()
        elif word in ("if", "elif", "undef"):
            raise ProbeSpecError(f"#{word} is not supported", text, start, start + len(line.rstrip()))
        elif all(stack):
            if word == "define" and rest:
                defined.add(rest.split()[0])
            lines.append(line)
            start += len(line)
            continue
        lines.append("".join(letter if letter == "\n" else " " for letter in line))
        start += len(line)
    return "".join(lines)


def split_point(text: str) -> list[str]:
    """Split an attach point at the colons outside quotes, and remove the quotes, but those that a backslash
    escapes."""
    parts, part, quoted, escaped = list[str](), "", False, False
    for letter in text:
        if escaped or (quoted and letter == "\\"):
            part += letter if escaped else ""
            escaped = not escaped
        elif letter == '"':
            quoted = not quoted
        elif letter == ":" and not quoted:
            parts.append(part)
            part = ""
        else:
            part += letter
    return [*parts, part]


def parse_script(
    text: str, name: str = "stdin", *, imported: Sequence[tuple[str, str]] = (), is_imported: bool = False
) -> syntax.Script:
    """Parse a script. Raises ProbeSpecError, which points at the mistake.

    ``imported`` are the names and texts of the files that it imports; their probes precede its own.
    ``is_imported``: it is one itself, and so may have no probe, but no settings.
    """
    files, full_text = [(0, name)], text
    for file, content in imported:
        files.append((len(full_text) + 1, file))
        full_text += f"\n{content}"
    with with_positions(files):
        script = ScriptParser(preprocess(full_text), is_imported=is_imported).script()
    own_probes = [probe for probe in script.probes if probe.start < len(text)]
    probes = (*(probe for probe in script.probes if probe.start >= len(text)), *own_probes)
    return replace(script, probes=probes, files=tuple(files))
