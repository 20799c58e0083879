"""Test the positions in the files of a script that messages name."""

import pytest

from pytracer.errors import ProbeSpecError
from pytracer.lang.script import parse_script
from pytracer.lang.script.positions import excerpt_of, position_of, warning_at

TEXT = "begin {\n  x;\n}\nmacro y() { z }"
FILES = ((0, "stdin"), (TEXT.index("macro"), "lib.bt"))


@pytest.mark.parametrize(
    ("part", "expected"),
    [("begin", "stdin:1:1-6"), ("x;", "stdin:2:3-5"), ("macro", "lib.bt:1:1-6"), ("z", "lib.bt:1:13-14")],
)
def test_a_position_is_that_in_the_file(part, expected):
    start = TEXT.index(part)
    assert position_of(TEXT, FILES, start, start + len(part)) == expected


def test_marks_end_with_the_line():
    assert excerpt_of("ab cd\nef", 3, 8) == "ab cd\n   ~~"
    assert warning_at("ab cd", FILES[:1], 3, 5, "why") == "stdin:1:4-6: WARNING: why\nab cd\n   ~~"


def test_errors_of_the_parser_have_positions():
    with pytest.raises(ProbeSpecError) as excinfo:
        parse_script("begin {\n  x y;\n}", "file.bt")
    assert excinfo.value.place == "file.bt:2:5-6"
