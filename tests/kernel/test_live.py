"""Test the live screen on a terminal: numbers are right, and the terminal is restored."""

from __future__ import annotations

import csv
import os
import re
import signal
import sys
from pathlib import Path

import pytest

from support.cli import run, wait_for
from support.terminals import Terminal

pytestmark = pytest.mark.kernel

CALLS = "import os, time\nfor _ in range(101): os.getppid()\ntime.sleep(0.2)"
OPENS = """
import os
for number in range(23):
    try:
        os.open(b"/nowhere/[red]\\x1b[2J%d" % number, os.O_RDONLY)
    except OSError:
        pass
"""
BREAKS = """
from pytracer.screen.rows import RowsPane
def broken(self):
    raise ValueError("broken on purpose")
RowsPane.update_rows = broken
import sys
from pytracer.cli.main import main
sys.exit(main(["syscalls", "--live", "-p", sys.argv[1]]))
"""


def row(term, name):
    """Return the words of the row that begins with a name."""
    return next((line.split() for line in term.lines if line.split()[:1] == [name]), [])


def test_a_table_is_right_to_the_last_call():
    with Terminal("syscalls", "--live", "--", sys.executable, "-c", CALLS, columns=100) as term:
        term.wait_for("whole run")
        term.wait_for("ended")
        term.type("/")
        term.wait_for("filter: ")
        term.type("syscall=getppid\r")
        term.wait_for("row 1 of 1 ")
        term.wait_for(lambda _: row(term, "getppid")[1:2] == ["101"], "101 calls")
        term.type("q")
        assert term.finish() == 0
        assert term.is_restored()


def test_events_of_hostile_names_are_filtered_and_saved(tmp_path):
    file = tmp_path / "opens.csv"
    with Terminal("opensnoop", "--live", "--", sys.executable, "-c", OPENS, columns=120) as term:
        term.wait_for("ended")
        term.type("/")
        term.wait_for("filter: ")
        term.type("nowhere\r")
        term.wait_for("row 23 of 23")
        term.wait_for("/nowhere/[red]\\x1b[2J22")
        term.type("w")
        term.wait_for("opensnoop-")
        term.type("\x15")
        term.wait_for(lambda text: "opensnoop-" not in text, "an empty line")
        term.type(f"{file}\r")
        term.wait_for("23 rows are in")
        term.type("q")
        assert term.finish() == 0
    assert b"\x1b[2J22" not in term.sent
    assert (
        len([line for line in csv.DictReader(file.read_text().splitlines()) if line["kind"] == "event"]) == 23
    )


@pytest.mark.parametrize("end", ["\x03", signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_terminal_is_left_as_it_was(busy, end):
    with Terminal("syscalls", "--live", "-p", busy) as term:
        term.wait_for("getppid")
        if isinstance(end, str):
            term.type(end)
        else:
            os.kill(term.process.pid, end)
        assert term.finish() == 0
        assert term.is_restored()


def test_after_an_error_too(busy):
    with Terminal(busy, command=[sys.executable, "-c", BREAKS]) as term:
        assert term.finish() == 1
        assert term.is_restored()
        assert "ValueError: broken on purpose" in term.text
        assert "Traceback" not in term.text


def state(term):
    return Path(f"/proc/{term.process.pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_the_screen_survives_stop_and_continue_signals(busy):
    with Terminal("syscalls", "--live", "-p", busy) as term:
        term.wait_for("getppid")
        term.type("\x1a")
        wait_for(lambda: state(term) == "T", "Ctrl-Z stops it")
        os.kill(term.process.pid, signal.SIGCONT)
        term.wait_for("row 1 of 2")
        os.kill(term.process.pid, signal.SIGSTOP)
        wait_for(lambda: state(term) == "T", "SIGSTOP stops it")
        os.kill(term.process.pid, signal.SIGCONT)
        term.type("c")
        term.wait_for("pytracer syscalls -p")
        term.type("q")
        term.wait_for("row 1 of 2")
        term.type("q")
        assert term.finish() == 0
        assert term.is_restored()


def test_the_screen_grows_with_the_window_and_over_a_slow_line(busy):
    with Terminal("syscalls", "--live", "-p", busy, slow=9600) as term:
        term.wait_for("getppid")
        term.wait_for(lambda _: term.lines[-1].startswith("space pause"), "keys at the end")
        term.resize(200, 50)
        term.wait_for(lambda _: term.lines[-1].startswith("space pause"), "keys at the end")
        term.wait_for(lambda _: "TREND" in term.lines[1], "the headings")
        term.type("q")
        assert term.finish() == 0


@pytest.mark.parametrize(("env", "codes"), [({"NO_COLOR": "1"}, ""), ({"TERM": "xterm"}, "39")])
def test_few_colours_and_none(busy, env, codes):
    with Terminal("syscalls", "--live", "-p", busy, env=env, columns=120) as term:
        term.wait_for("getppid")
        term.read(1.2)
        term.type("q")
        term.finish()
    sets = re.findall(r"\x1b\[([\d;]*)m", term.sent.decode())
    colours = {code for parts in sets for code in parts.split(";")} & {str(code) for code in range(30, 50)}
    colours |= {
        code for parts in sets for code in parts.split(";") if code in {str(n) for n in range(90, 108)}
    }
    assert colours <= {"39", "49", *(("36", "90") if codes else ())}
    assert not re.search(r"[34]8;[25]", term.sent.decode())


def test_a_row_opens_a_closer_tracer_and_returns(busy):
    with Terminal("syscalls", "--live", "--by", "pid", "-p", busy, "-u", "0", columns=120) as term:
        term.wait_for("row 1 of 1")
        term.type("s")
        term.wait_for(f"pytracer offcputime -p {busy} --uid 0")  # the first of the choices
        term.type("\r")
        term.wait_for(lambda _: term.lines[0].startswith("offcputime  "), "the other screen")
        term.wait_for("row 1 of")
        term.type("q")
        term.wait_for(lambda _: term.lines[0].startswith("syscalls  "), "the first screen")
        term.type("q")
        assert term.finish() == 0
        assert term.is_restored()


def test_live_needs_a_terminal_and_the_table_format():
    result = run("syscalls", "--live")
    assert (result.status, "needs a terminal" in result.err) == (2, True)
    result = run("syscalls", "--live", "-f", "json")
    assert (result.status, "cannot be combined" in result.err) == (2, True)


def test_output_of_the_command_is_shown_at_the_end():
    with Terminal("syscalls", "--live", "--", "echo", "written") as term:
        term.wait_for("ended")
        assert "written" not in term.text
        term.type("q")
        assert term.finish() == 0
    assert b"written" in term.sent[term.sent.rfind(b"\x1b[?1049l") :]


def test_programs_of_the_machine(busy):
    with Terminal("syscalls", "--live", "-p", busy) as other, Terminal("prog", "top", "--live") as term:
        other.wait_for("getppid")
        term.wait_for("row 1 of")
        term.type("/")
        term.wait_for("filter: ")
        term.type(f"pids={other.process.pid} runs>0\r")
        term.wait_for(f"pytracer syscalls ({other.process.pid})")
        term.type("q")
        assert term.finish() == 0
        assert term.is_restored()
        other.type("q")
        assert other.finish() == 0
    assert run("prog", "--live").status == 2


def test_a_script_has_a_view_for_each_of_its_maps():
    script = """tracepoint:raw_syscalls:sys_enter /args.id == 110/ {
        @calls[comm] = count(); @sizes = hist(args.id); printf("called\\n");
    }"""
    command = ["--", sys.executable, "-c", CALLS]
    with Terminal("script", "--live", "-e", script, *command, columns=100) as term:
        term.wait_for("ended")
        term.wait_for("row 101 of 101")
        term.wait_for(lambda _: term.lines[2].endswith("called"), "what is printed")
        term.type("\t")
        term.wait_for(lambda _: term.lines[0].startswith("@calls "), "the first map")
        term.wait_for(lambda _: term.lines[2].split()[1:2] == ["101"], "101 calls")
        term.type("\t")
        term.wait_for(lambda _: term.lines[0].startswith("@sizes "), "the second map")
        term.type("\r")
        term.wait_for("[64, 128)                       101 |")
        term.type("qq")
        assert term.finish() == 0
        assert term.is_restored()
