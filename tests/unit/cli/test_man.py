"""Test the manual pages of every tracer: all options, and nothing that roff interprets."""

from __future__ import annotations

import argparse
import re

import pytest

from pytracer.cli import man, tracer_parser
from pytracer.cli.main import COMMANDS, main
from pytracer.spec import registry


def plain_text(page):
    """Return the text of a page, without roff."""
    text = re.sub(r"\\f[BIR]", "", page).replace("\\-", "-").replace("\\&", "")
    return text.replace("\\e", "\\")


@pytest.mark.parametrize("tracer", registry.all_tracers(), ids=lambda tracer: tracer.name)
def test_a_page_has_every_option_column_and_example(tracer):
    page = man._page_of(tracer)
    text = plain_text(page)
    for action in tracer_parser.build(tracer)._actions:
        if action.option_strings and action.help != argparse.SUPPRESS:
            assert ", ".join(action.option_strings) in text
    for line, _ in tracer.examples:
        assert f"pytracer {line}" in text
    assert all(
        column.name in text for output in tracer.outputs for column in tracer_parser.columns_of(output)
    )
    assert tracer.summary in text
    for line in page.splitlines():
        assert not line.startswith("'")
        assert not line.startswith(".") or re.match(r"\.(TH|SH|SS|TP|PP|BR)( |$)", line), line
        assert not re.search(r"\\(?!f[BIR]|-|e|&)", line), line


def test_all_pages_can_be_written(tmp_path, capsys):
    assert main(["man", "--into", str(tmp_path)]) == 0
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"pytracer.1", *(f"pytracer-{name}.1" for name in registry.names())}
    overview = plain_text((tmp_path / "pytracer.1").read_text())
    assert all(name in overview for name in (*COMMANDS, *registry.names()))
    assert main(["man", "--into", "/no/such/folder"]) == 2
    assert main(["man", "no-such-tracer"]) == 2
    assert "cannot write to" in capsys.readouterr().err
