"""An option whose macro the C of a tracer does not have is an error."""

from __future__ import annotations

import pytest

from pytracer.errors import SchemaError
from pytracer.record import replace
from pytracer.spec import Choice, Duration, Flag, NameSet, Number, registry
from pytracer.trace.source_check import check_options

OPTIONS = {
    Flag("failed", "", define="FAILED"): ("--failed", "FAILED", "#ifdef FAILED"),
    NameSet("calls", "", map="wanted", define="ONLY_CALLS"): ("--calls", "ONLY_CALLS", "#ifdef ONLY_CALLS"),
    Number("size", "", define="SIZE"): ("--size", "SIZE", "SIZE is its value"),
    Duration("min", "", config="min"): ("--min", "PT_CFG_MIN", "pt_cfg(PT_CFG_MIN) of config.h is its value"),
    Choice("way", "", choices=("in",), config="way"): (
        "--way",
        "PT_CFG_WAY",
        "pt_cfg(PT_CFG_WAY) of config.h",
    ),
}


@pytest.mark.parametrize(("option", "parts"), OPTIONS.items(), ids=lambda value: getattr(value, "name", ""))
def test_an_option_that_the_c_does_not_read(option, parts):
    name, macro, usage = parts
    tracer = replace(registry.get("setids"), options=(option,))
    check_options(tracer, f"#if defined({macro})\n")
    for text in (f"// {macro}\n", f"int x{macro}, {macro}_PAGES, MY_{macro};\n"):
        with pytest.raises(
            SchemaError, match=f"setids.c ignores {name}: it does not have {macro}"
        ) as excinfo:
            check_options(tracer, text)
        assert usage in excinfo.value.hint


@pytest.mark.parametrize("option", [Flag("latency", ""), Choice("event", "", choices=("a",))])
def test_an_option_that_is_not_for_the_c(option):
    check_options(replace(registry.get("setids"), options=(option,)), "")
