"""Test that the examples of docs/script.md print what the page shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support.cli import run

pytestmark = [pytest.mark.kernel, pytest.mark.lab]

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "script.md").read_text()
EXAMPLES = re.findall(r"```bt\n(.*?)```\n```text\n(.*?)```", PAGE, re.S)


def test_the_page_has_examples():
    assert len(EXAMPLES) > 3


@pytest.mark.parametrize(("text", "printed"), EXAMPLES)
def test_example(text, printed):
    result = run("script", "-q", "-e", text)
    assert result.status == 0, result.err
    assert result.out == printed
