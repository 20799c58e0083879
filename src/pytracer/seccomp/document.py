"""Read JSON that may be hostile, piece by piece; errors name the expected value and its path."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any, TypeVar

from pytracer.errors import UnknownNameError, UsageError

_T = TypeVar("_T")


class JsonPiece:
    """A value in a document, with its path: ``syscalls[3].args[0].op``."""

    def __init__(self, value: Any, path: str) -> None:
        self.value = value
        self.path = path

    def fields(self, known_names: Collection[str]) -> Mapping[str, JsonPiece]:
        """Return the fields of an object that are not null. Raises UsageError for a field that is not in
        ``known_names``: unknown fields are never ignored."""
        inside = f"{self.path}." if self.path else ""
        fields = {}
        for name, value in self._check_type(dict, "an object").items():
            if name not in known_names:
                raise self.unknown("field", name, known_names)
            if value is not None:
                fields[name] = JsonPiece(value, inside + name)
        return fields

    def __iter__(self) -> Iterator[JsonPiece]:
        """Yield the elements of a list."""
        for number, value in enumerate(self._check_type(list, "a list")):
            yield JsonPiece(value, f"{self.path}[{number}]")

    @property
    def text(self) -> str:
        """A string."""
        return str(self._check_type(str, "a string"))

    def number(self, maximum: int) -> int:
        """Return an integer from 0 to ``maximum``."""
        description = f"a whole number from 0 to {maximum}"
        value = self._check_type(int, description)
        if isinstance(value, bool) or not 0 <= value <= maximum:
            raise self.wrong(description)
        return int(value)

    def one_of(self, noun: str, choices: Mapping[str, _T]) -> _T:
        """Look up a name in a table. Raises UsageError if it is unknown."""
        if self.text not in choices:
            raise self.unknown(noun, self.text, choices)
        return choices[self.text]

    def unknown(self, noun: str, name: str, choices: Collection[str]) -> UsageError:
        """Return the error for an unknown name."""
        error = UnknownNameError(noun, _shorten(name), choices)
        return UsageError(f"{self.path}: {error.message}" if self.path else error.message, hint=error.hint)

    def wrong(self, expected: str) -> UsageError:
        """Return the error for a value of another type."""
        return UsageError(f"{self.path or 'a profile'} is {expected}, not {_shorten(self.value)}")

    def _check_type(self, kind: type, expected: str) -> Any:
        if not isinstance(self.value, kind):
            raise self.wrong(expected)
        return self.value


def parse(text: bytes) -> JsonPiece:
    """Parse a whole document. Raises UsageError if it is not JSON."""
    try:
        return JsonPiece(json.loads(text, object_pairs_hook=_make_object), "")
    except RecursionError:
        raise UsageError("it is nested too deeply") from None
    except ValueError as error:  # also of bytes that are no text, and of numbers of thousands of digits
        raise UsageError(f"it is no JSON: {error}") from None


def _make_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in pairs:
        if name in fields:  # readers take the one or the other
            raise UsageError(f"a field {_shorten(name)!r} stands twice in one object")
        fields[name] = value
    return fields


def _shorten(value: Any) -> str:
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "..."
