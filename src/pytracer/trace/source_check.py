"""Check that the C of a tracer reads the macros of its options: otherwise it would ignore an option
silently."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pytracer.errors import SchemaError
from pytracer.spec import Choice, Flag, NameSet, Number, SeccompProfile, Tracer

_WORD = re.compile(r"//.*|\b[A-Z]\w+")


def check_options(tracer: Tracer, text: str) -> None:
    """Check that the macro of each option occurs in ``text``, the C with its includes. Raises SchemaError.

    The macro of a key of rows may be missing: the struct has some keys anyway.
    """
    words = set(_WORD.findall(text))
    for option, macro, usage in _iter_macros(tracer):
        if macro not in words:
            raise SchemaError(f"{tracer.c_file} ignores {option}: it does not have {macro}", hint=usage)


def _iter_macros(tracer: Tracer) -> Iterator[tuple[str, str, str]]:
    """Yield each option that the C reads, its macro, and how the C uses it."""
    for option in tracer.options:
        if isinstance(option, (Flag, NameSet, Number, SeccompProfile)) and option.define:
            is_value = isinstance(option, Number)
            usage = f"{option.define} is its value" if is_value else f"#ifdef {option.define}"
            yield f"--{option.name}", option.define, usage
        elif isinstance(option, (Choice, Number)) and option.config:
            macro = f"PT_CFG_{option.config.upper()}"
            yield f"--{option.name}", macro, f"pt_cfg({macro}) of config.h is its value"
