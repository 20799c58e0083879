"""Test filters that name processes by something else than a process id."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from pytracer.errors import UsageError
from pytracer.kernel import filter_values


def test_a_list_of_processes_is_written_with_an_option_each():
    with pytest.raises(UsageError) as caught:
        filter_values.process("1,2")
    assert caught.value.message == "'1,2' is no process id"
    assert caught.value.hint == "-p 1 -p 2"


def test_the_processes_of_a_program_are_named(tmp_path):
    program = shutil.copy(shutil.which("sleep"), tmp_path / "nap-of-a-test")
    with subprocess.Popen([program, "60"]) as process:
        try:
            with pytest.raises(UsageError) as caught:
                filter_values.process("nap-of-a-test")
        finally:
            process.kill()
    assert caught.value.hint == f"1 run under that name: -p {process.pid}; --comm takes names"
    with pytest.raises(UsageError) as caught:
        filter_values.process("nothing-is-called-so")
    assert caught.value.hint == "-p takes numbers; --comm NAME those of that name"
