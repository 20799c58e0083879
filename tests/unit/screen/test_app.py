"""Test the screen with Textual's pilot: keys and the resulting display."""

from __future__ import annotations

import asyncio
import time

import pytest

from pytracer.model import Loss
from pytracer.screen.app import LiveApp
from pytracer.screen.dialogs import Menu, Question, TextDialog
from pytracer.screen.rows import RowsPane
from pytracer.spec import registry
from support.view_items import FIRST, HOSTILE, table, view_of

SHOWN = "\\x1b[2J[red]x\\"


def drive(view, steps, *, words=("syscalls", "--live"), size=(100, 24), **options):
    """Run the screen, and ``steps(app, pilot)`` on it."""
    app = LiveApp(view, registry.get("syscalls"), words, **options)

    async def run():
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            app.draw()
            await steps(app, pilot)

    asyncio.run(run())
    return app


def lines(app):
    return app.query_one(RowsPane).text.splitlines()


def status(app):
    return app._lines["status"].text


def test_rows_are_shown_as_text():
    async def steps(app, _pilot):
        assert lines(app)[0].split()[:5] == ["SYSCALL", "PID", "COMM", "CALLS", "ERRORS"]
        assert lines(app)[1].split()[:4] == ["read", "7", "c7", "5"]
        assert lines(app)[3].startswith(SHOWN + " ")
        assert "row 1 of 3" in status(app)
        assert "8 calls/s" in app._lines["title"].text

    drive(view_of(FIRST), steps)


def test_keys_sort_and_reverse():
    async def steps(app, pilot):
        for _ in range(4):
            await pilot.press(">")
        assert app.view.sort == "calls"
        assert "CALLS▼" in lines(app)[0]
        await pilot.press("r")
        assert [line.split()[0] for line in lines(app)[1:]] == [SHOWN, "write", "read"]
        await pilot.press("<")
        assert app.view.sort == "comm"

    drive(view_of(FIRST), steps)


def test_a_filter_is_typed_and_a_wrong_one_explained():
    async def steps(app, pilot):
        await pilot.press("/", *"total>1", "enter")
        assert isinstance(app.screen, Question)
        assert "total_ns" in str(app.screen.query_one(".error").content)
        await pilot.press(*["backspace"] * 7, *"total_ns>1ms", "enter")
        await pilot.pause()
        assert [line.split()[0] for line in lines(app)[1:]] == ["write"]
        assert "filter total_ns>1ms" in status(app)

    drive(view_of(FIRST), steps)


def test_pause_and_intervals():
    async def steps(app, pilot):
        await pilot.press("left")
        assert "paused" in app._lines["title"].text
        assert len(lines(app)) == 4
        app.view.add(table(2, {("close", 1): (1, 1)}))
        app.tick()
        assert len(lines(app)) == 4
        await pilot.press("space")
        assert lines(app)[1].split()[0] == "close"

    drive(view_of(FIRST, {("read", 7): (9, 9)}), steps)


def test_everything_about_a_row():
    async def steps(app, pilot):
        await pilot.press("down", "down", "enter")
        assert isinstance(app.screen, TextDialog)
        text = "\n".join(app.screen._lines)
        assert SHOWN in text
        assert "calls that returned" in text
        assert HOSTILE not in text
        await pilot.press("escape")
        assert not isinstance(app.screen, TextDialog)

    drive(view_of(FIRST), steps)


def test_a_choice_looks_closer():
    chosen = []

    async def steps(app, pilot):
        await pilot.press("s")
        assert isinstance(app.screen, Menu)
        await pilot.press("enter")
        await pilot.pause()

    drive(view_of(FIRST), steps, open_closer=lambda _app, choice: chosen.append(choice.words))
    [words] = chosen
    assert words[-2:] == ("-p", "7")


def test_the_command_line_is_shown_and_printed():
    async def steps(app, pilot):
        await pilot.press(">", "c")
        assert app.screen._lines[0] == "pytracer syscalls --sort syscall"

    assert drive(view_of(FIRST), steps).printed == ["pytracer syscalls --sort syscall"]


def test_the_shown_rows_are_saved(tmp_path):
    async def steps(app, pilot):
        await pilot.press("w")
        await pilot.press("ctrl+u", *str(tmp_path / "a.json"), "enter")
        await pilot.pause()
        assert status(app).startswith("3 rows are in ")

    drive(view_of(FIRST), steps)
    assert len((tmp_path / "a.json").read_text().splitlines()) == 3


def test_losses_are_on_the_screen():
    async def steps(app, pilot):
        app.view.add(Loss("map_full", 12, "rows\x1b", 0.0))
        app.tick()
        await pilot.pause()
        assert app._lines["alarm"].text == "lost: 12 rows\\x1b"
        assert app._lines["alarm"].display

    drive(view_of(FIRST), steps)


def test_no_more_rows_are_made_than_there_is_room_for():
    rows = {("read", pid): (pid, pid) for pid in range(1, 5000)}
    view = view_of(rows)
    fetched = []
    cells = view.cells
    view.cells = lambda first, count, columns: fetched.append((first, count)) or cells(first, count, columns)

    async def steps(app, pilot):
        await pilot.press("end")
        assert lines(app)[-1].split()[1] == "4999"
        await pilot.press("pageup")
        await pilot.resize_terminal(120, 40)
        await pilot.pause()
        await pilot.press("home")
        assert lines(app)[1].split()[1] == "1"
        assert len(lines(app)) == 37

    drive(view, steps)
    assert max(count for _, count in fetched) == 36


@pytest.mark.parametrize("size", [(80, 24), (200, 50), (20, 5), (3, 2)])
def test_any_size(size):
    async def steps(app, pilot):
        await pilot.press("enter", "escape", "s", "escape", "/", "escape", "?", "escape", "end")
        app.tick()

    assert drive(view_of(FIRST), steps, size=size).failure is None


def test_q_and_ctrl_c_leave():
    for key in ("q", "ctrl+c"):

        async def steps(app, pilot, key=key):
            await pilot.press(key)
            await pilot.pause()
            assert not app.is_running or app._exit

        drive(view_of(FIRST), steps)


def test_the_app_exits_after_the_terminal_has_shown_the_last_frame():
    async def steps(app, pilot):
        app._pacer.add_query(0.0)
        app.on_cursor_position()
        app._pacer.add_query(time.monotonic())
        app.view.set_filter("write")
        app.tick()
        assert len(lines(app)) == 4
        app.action_leave()
        await pilot.pause()
        assert app.is_running
        app.on_cursor_position()
        await pilot.pause()
        assert not app.is_running

    drive(view_of(FIRST), steps)


def test_numbers_are_shown_whole_or_not_at_all():
    async def steps(app, pilot):
        heads = lines(app)[0].split()
        assert heads == ["SYSCALL", "PID", "COMM", "CALLS", "ERRORS"]
        assert status(app).endswith("columns 1-5 of 7 (h l)")
        assert app._lines["keys"].text.endswith("? help  q quit  ")
        await pilot.press("l", "l")
        assert lines(app)[0].split()[:5] == ["COMM", "CALLS", "ERRORS", "TOTAL", "AVG"]

    drive(view_of(FIRST), steps, size=(50, 24))


def test_a_key_shows_the_whole_run():
    async def steps(app, pilot):
        await pilot.press("a")
        assert lines(app)[1].split()[3] == "10"
        assert "whole run" in app._lines["title"].text
        assert "paused" not in app._lines["title"].text
        await pilot.press("a")
        assert lines(app)[1].split()[3] == "5"

    drive(view_of(FIRST, FIRST), steps)
