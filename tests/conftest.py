"""Apply the rules of all tests: kernel tests need root, may not skip in CI, and leave nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from pytracer import budget
from support import leftovers
from support.needs import DeclaredSkip
from support.turns import Turn

leftovers.mark_environment()
os.environ["XDG_CONFIG_HOME"] = "/dev/null"  # no defaults of whoever runs the tests


def _accept_signals() -> None:
    """Handle what the caller of the tests ignores (nohup, a shell's ``&``), so that what they start does not.

    What is handled is default after execve. The tests themselves still ignore all but SIGINT.
    """
    for number in signal.valid_signals() - {signal.SIGPIPE, signal.SIGXFSZ}:  # these subprocess gives back
        if signal.getsignal(number) == signal.SIG_IGN:
            interrupt = number == signal.SIGINT
            signal.signal(number, signal.default_int_handler if interrupt else lambda *_: None)


_accept_signals()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Assign the tests that need the machine alone to one worker: a second one would only wait for the
    first."""
    if config.pluginmanager.has_plugin("xdist"):
        for item in items:
            if item.get_closest_marker("alone"):
                item.add_marker(pytest.mark.xdist_group("alone"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--share", metavar="N/M", help="run the first test of every Mth file, from the Nth on")


@pytest.hookimpl(trylast=True, specname="pytest_collection_modifyitems")
def pytest_deselect_other_shares(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the first test of each file in one share of the files; other runs have the other files."""
    share = config.getoption("--share")
    if not share:
        return
    first, step = map(int, share.split("/"))
    files = sorted({item.path for item in items})
    first_tests = {item.path: item for item in reversed(items)}
    kept = {first_tests[file] for file in files[first - 1 :: step]}
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = [item for item in items if item in kept]


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("kernel") and os.geteuid() != 0:
        pytest.skip("needs root")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Fail a kernel test that skips without a declared reason if PYTRACER_NO_SKIP is set."""
    outcome = yield
    report = outcome.get_result()
    if report.skipped and isinstance(call.excinfo.value, DeclaredSkip):
        return
    if report.skipped and item.get_closest_marker("kernel") and os.environ.get("PYTRACER_NO_SKIP"):
        report.outcome = "failed"
        report.longrepr = f"skipped, but PYTRACER_NO_SKIP is set: {report.longrepr}"


@pytest.fixture(autouse=True)
def _budget_of_its_own():
    """Give each test the budget of a run, so that it does not depend on what those before it have spent.

    This does not use ``monkeypatch``: the changes of a test would then be undone after ``_nothing_left``.
    """
    budget._current = None


@pytest.fixture(autouse=True)
def _default_signals():
    """Begin each test with SIGTERM and SIGHUP that end a process, and SIGINT that raises KeyboardInterrupt.

    Were they ignored in this process, the tracers that a test starts would ignore them, too. Tests of the
    lab's command line leave its handlers.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _nothing_left(request: pytest.FixtureRequest):
    """Fail a kernel test that leaves a program or map loaded.

    Kernel tests of several workers and checkouts run side by side, except those that are marked ``alone``.
    """
    if not request.node.get_closest_marker("kernel"):
        yield
        return
    turn = Turn(lambda line: _say(request.config, line))
    try:
        turn.take(is_exclusive=request.node.get_closest_marker("alone") is not None)
        before = leftovers.loaded_ids()
        yield
        left = leftovers.find_leftovers(before, lambda: turn.take(is_exclusive=True))
        if left:
            pytest.fail(f"left in the kernel: {leftovers.describe(left)}")
    finally:
        turn.close()


_printed = set[str]()


def _say(config: pytest.Config, line: str) -> None:
    """Write a line, once, to the standard error of whoever started pytest, past what pytest captures."""
    if line in _printed:
        return
    _printed.add(line)
    capture = config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        os.write(2, f"{config.rootpath}: {line}\n".encode())


@pytest.fixture
def busy():
    """Run a process that makes system calls."""
    code = "import os, time\nwhile True: os.getppid(); time.sleep(0.002)"
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        yield process.pid
        process.kill()
