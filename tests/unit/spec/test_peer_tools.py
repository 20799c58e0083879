"""Test that tools of other projects are found under their names."""

from __future__ import annotations

import shlex

import pytest

from pytracer.cli import tracer_parser
from pytracer.cli.main import COMMANDS
from pytracer.errors import UnknownNameError
from pytracer.spec import registry
from pytracer.spec.peer_tools import PEER_TOOLS


@pytest.mark.parametrize("line", PEER_TOOLS.values())
def test_equivalent_command_lines_are_valid(line):
    name, *words = shlex.split(line)
    if name not in COMMANDS:
        tracer_parser.parse(registry.get(name), words)


def test_no_tracer_has_such_a_name():
    assert not {*PEER_TOOLS} & {*registry.names(), *COMMANDS}


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("tcpaccept", "tcptracer -e accept"),
        ("tcpaccept-bpfcc", "tcptracer -e accept"),
        ("syscount.bt", "syscalls"),
        ("execsnoop-bpfcc", "execsnoop"),
        ("biolatency.py", "biolatency"),
    ],
)
def test_the_hint_has_the_words_that_do_it(name, line):
    with pytest.raises(UnknownNameError) as excinfo:
        registry.get(name)
    assert excinfo.value.hint == f"pytracer {line} does it"


def test_other_names_get_near_ones():
    with pytest.raises(UnknownNameError) as excinfo:
        registry.get("opensnop")
    assert "opensnoop" in excinfo.value.hint
    with pytest.raises(UnknownNameError) as excinfo:
        registry.get("nothing-bpfcc")
    assert "does it" not in excinfo.value.hint
