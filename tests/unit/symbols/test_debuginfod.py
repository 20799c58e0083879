"""Test symbols from a debuginfod server, which the test runs on the loopback interface."""

from __future__ import annotations

import os
import socket

import pytest

from pytracer.budget import Budget, OverBudgetError
from pytracer.symbols import debug, debuginfod
from support import budgets
from support.debuginfod import Server, path_of
from support.elf_builder import build

BUILD_ID = "0123456789abcdef" * 2
SYMBOLS = build(build_id=bytes.fromhex(BUILD_ID))
FOUND = b"HTTP/1.1 200 OK\r\n"


def find(build_id, owner=None):
    return debuginfod.find(build_id, owner or account())


def account():
    return Budget().account(os.geteuid(), "a file")


@pytest.fixture
def server(tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    monkeypatch.setenv("DEBUGINFOD_CACHE_PATH", str(cache))
    monkeypatch.setattr(debuginfod, "_silent", set())
    monkeypatch.setattr(debug, "FOLDER", tmp_path / "none")
    monkeypatch.setattr(
        debuginfod, "_is_own_folder", lambda _: True
    )  # of /tmp, that depends on who runs the test
    server = Server()
    monkeypatch.setenv("DEBUGINFOD_URLS", f"ftp://127.0.0.1/ {server.url}/")
    yield server
    server.close()


def test_a_file_is_requested_once_and_kept(server):
    server.files[path_of(BUILD_ID)] = SYMBOLS
    actual = [find(BUILD_ID) for _ in range(3)]
    assert [path.read_bytes() for path in actual] == [SYMBOLS] * 3
    assert server.requests == [path_of(BUILD_ID)]
    assert [path.name for path in actual[0].parent.iterdir()] == ["debuginfo"]


def test_no_server_is_queried_unless_configured(server, monkeypatch):
    for urls in ("", "   ", "file:///tmp ftp://127.0.0.1"):
        monkeypatch.setenv("DEBUGINFOD_URLS", urls)
        assert find(BUILD_ID) is None
    monkeypatch.delenv("DEBUGINFOD_URLS")
    assert find(BUILD_ID) is None
    assert not server.requests


@pytest.mark.parametrize("build_id", ["", "../../../etc/passwd", "0123456", "G" * 40, "ab" * 65])
def test_an_invalid_build_id_is_not_requested(server, build_id):
    assert find(build_id) is None
    assert not server.requests


def test_files_that_a_server_does_not_have(server, monkeypatch):
    assert find(BUILD_ID) is None
    other = "ff" * 20
    server.files[path_of(other)] = b""
    assert find(other) is None
    monkeypatch.setattr(debuginfod, "_LIMIT", len(SYMBOLS) - 1)
    server.files[path_of(BUILD_ID)] = SYMBOLS
    assert find(BUILD_ID) is None
    assert server.requests == [path_of(BUILD_ID), path_of(other), path_of(BUILD_ID)]
    assert not debuginfod._silent


def test_a_server_that_is_not_there_is_queried_once_and_then_the_next(server, monkeypatch):
    closed_server = Server()
    closed_server.close()
    monkeypatch.setenv("DEBUGINFOD_URLS", f"{closed_server.url} {server.url}")
    server.files[path_of(BUILD_ID)] = SYMBOLS
    assert find(BUILD_ID) is not None
    assert debuginfod._silent == {closed_server.url}


def test_a_folder_that_others_write_to_is_not_used(server, monkeypatch, tmp_path):
    monkeypatch.undo()
    monkeypatch.setenv("DEBUGINFOD_URLS", server.url)
    monkeypatch.setenv("DEBUGINFOD_CACHE_PATH", str(tmp_path / "open"))
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    server.files[path_of(BUILD_ID)] = SYMBOLS
    assert find(BUILD_ID) is None
    assert not server.requests


def test_a_file_of_another_build_is_not_used(server):
    server.files[path_of(BUILD_ID)] = b"\x7fELF and nothing else"
    with debug.separate(BUILD_ID, account()) as actual:
        assert actual is None
    other = "ff" * 16
    server.files[path_of(other)] = SYMBOLS
    assert find(other) is None
    assert server.requests == [path_of(BUILD_ID), path_of(other)]
    assert not list(debuginfod._cache_folder().glob("*/*"))  # debuginfod's own client would take it


def test_a_server_has_so_much_time_for_a_file_however_it_drips(server, monkeypatch):
    server.raw[path_of(BUILD_ID)] = [FOUND, *[b"X: y\r\n"] * 20, b"\r\n", SYMBOLS]
    server.pause = 0.1
    monkeypatch.setattr(debuginfod, "_PATIENCE", 0.5)
    assert [find(BUILD_ID) for _ in range(2)] == [None, None]
    assert debuginfod._silent == {server.url}
    assert server.requests == [path_of(BUILD_ID)]


def test_a_late_file_is_discarded(server, monkeypatch):
    server.raw[path_of(BUILD_ID)] = [
        FOUND + b"\r\n",
        *[SYMBOLS[n : n + 512] for n in range(0, len(SYMBOLS), 512)],
    ]
    server.pause = 0.1
    monkeypatch.setattr(debuginfod, "_PATIENCE", 0.5)
    assert find(BUILD_ID) is None
    server.close()  # which waits until it has served it
    assert not list(debuginfod._cache_folder().glob("*/*"))


def test_each_user_has_so_much_time_for_all_files(server):
    server.files[path_of(BUILD_ID)] = SYMBOLS
    budget = budgets.budget_with(wait=2.0)
    messages = []
    budget.listen(messages.append)
    spender = budget.account(budgets.UID, "process 23 (x)")
    with pytest.raises(OverBudgetError):
        spender.charge(wait=3.0)
    assert find(BUILD_ID, spender) is None
    assert not server.requests
    assert messages == [
        f"process 23 (x) exceeds what is spent for user {budgets.UID}: 2 seconds of waiting for servers; "
        "names are missing, nothing else is"
    ]
    assert find(BUILD_ID, budget.account(budgets.UID + 1, "process 24 (y)")) is not None


@pytest.mark.parametrize(
    "answer",
    [
        b"what?\r\n\r\n",
        b"HTTP/1.1 two hundred\r\n\r\n",
        FOUND + b"Content-Length: %d\r\n\r\n" % (len(SYMBOLS) + 1) + SYMBOLS,
        FOUND + b"Content-Length: some\r\n\r\n" + SYMBOLS,
        FOUND + b"Transfer-Encoding: chunked\r\n\r\n5000\r\n" + SYMBOLS,
        b"",
    ],
    ids=["garbage", "status", "short", "length", "chunk", "nothing"],
)
def test_an_answer_that_makes_no_sense_is_the_last_one(server, answer):
    server.raw[path_of(BUILD_ID)] = [answer]
    assert find(BUILD_ID) is None
    assert debuginfod._silent == {server.url}
    assert not list(debuginfod._cache_folder().glob("*/*"))


def test_redirects_to_other_protocols_are_not_followed(server):
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = b"ftp://127.0.0.1:%d/debuginfo" % other.getsockname()[1]
        server.raw[path_of(BUILD_ID)] = [b"HTTP/1.1 302 Found\r\nLocation: %s\r\n\r\n" % address]
        assert find(BUILD_ID) is None
        other.setblocking(False)
        with pytest.raises(BlockingIOError):
            other.accept()
    assert debuginfod._silent == {server.url}


def test_a_server_sends_to_another_address(server):
    server.raw[path_of(BUILD_ID)] = [b"HTTP/1.1 302 Found\r\nLocation: /there\r\n\r\n"]
    server.files["/there"] = SYMBOLS
    assert find(BUILD_ID).read_bytes() == SYMBOLS


@pytest.mark.parametrize("host", ["127.0.0.1:x", "127.0.0.1:99999", "[", "\udc80", "a" * 64 + ".example"])
def test_an_unreachable_server_is_not_requested_again(server, monkeypatch, host):
    monkeypatch.setenv("DEBUGINFOD_URLS", f"http://{host}")
    assert find(BUILD_ID) is None
    assert debuginfod._silent
