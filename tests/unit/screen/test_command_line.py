"""Command lines from the screen: what they select, and what hostile names become in them."""

from __future__ import annotations

from pytracer.plan import make_plan
from pytracer.request import Request
from pytracer.screen import command_line
from pytracer.spec import Filter, registry
from pytracer.view import make_view
from pytracer.view.closer import Suggestion, typed
from support.fake_kernel import FakeKernel

SYSCALLS = registry.get("syscalls")
HOSTILE = "a'; rm -rf \\x1b[2J"  # a name with an escape, as rows have it


def view_of(name="syscalls", **options):
    return make_view(make_plan(Request(registry.get(name), options), FakeKernel()).schema)


def test_the_screen_is_left_out_and_the_order_is_added():
    view = view_of(by=("pid",))
    words = ["syscalls", "--by", "pid", "--live", "2"]
    assert command_line.of_screen(words, SYSCALLS, view) == ["syscalls", "--by", "pid", "2"]
    view.sort_by("calls")
    assert command_line.of_screen(words, SYSCALLS, view)[-2:] == ["--sort", "calls"]
    words += ["--sort", "errors"]
    assert command_line.of_screen(words, SYSCALLS, view) == [
        *("syscalls", "--by", "pid", "2", "--sort", "calls")
    ]


def test_filters_that_the_kernel_can_apply_are_added():
    view = view_of(by=("pid",))
    view.set_filter("pid=7 calls>3 comm=s")
    words = command_line.of_screen(["syscalls", "--live"], SYSCALLS, view)
    assert words == ["syscalls", "--pid", "7", "--comm", "s"]
    command = ["syscalls", "--live", "--", "ls", "--live"]
    assert command_line.of_screen(command, SYSCALLS, view) == ["syscalls", "--", "ls", "--live"]


def test_no_shell_and_no_terminal_obeys_a_name():
    words = Suggestion("syscalls", {}, {Filter.COMM: [typed(HOSTILE)]}, "").words
    assert command_line.shown(words) == """pytracer syscalls --comm 'a'"'"'; rm -rf \\x1b[2J'"""
