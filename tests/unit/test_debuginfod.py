"""Symbols from a debuginfod server: one on the loopback interface that the test starts."""

from __future__ import annotations

import pytest

from pytracer.symbols import debug, debuginfod
from support.debuginfod import Server, path_of

BUILD_ID = "0123456789abcdef" * 2


@pytest.fixture
def server(tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    monkeypatch.setenv("DEBUGINFOD_CACHE_PATH", str(cache))
    monkeypatch.setattr(debuginfod, "_silent", set())
    monkeypatch.setattr(debug, "FOLDER", tmp_path / "none")
    monkeypatch.setattr(debuginfod, "_is_ours", lambda _: True)  # of /tmp, that depends on who runs the test
    made = Server()
    monkeypatch.setenv("DEBUGINFOD_URLS", f"ftp://127.0.0.1/ {made.url}/")
    yield made
    made.close()


def test_a_file_is_asked_for_once_and_kept(server):
    server.files[path_of(BUILD_ID)] = b"symbols"
    found = [debuginfod.find(BUILD_ID) for _ in range(3)]
    assert [path.read_bytes() for path in found] == [b"symbols"] * 3
    assert server.asked == [path_of(BUILD_ID)]
    assert [path.name for path in found[0].parent.iterdir()] == ["debuginfo"]


def test_nobody_is_asked_unless_it_is_configured(server, monkeypatch):
    for urls in ("", "   ", "file:///tmp ftp://127.0.0.1"):
        monkeypatch.setenv("DEBUGINFOD_URLS", urls)
        assert debuginfod.find(BUILD_ID) is None
    monkeypatch.delenv("DEBUGINFOD_URLS")
    assert debuginfod.find(BUILD_ID) is None
    assert not server.asked


@pytest.mark.parametrize("build_id", ["", "../../../etc/passwd", "0123456", "G" * 40, "ab" * 65])
def test_what_is_no_build_id_is_not_asked_for(server, build_id):
    assert debuginfod.find(build_id) is None
    assert not server.asked


def test_what_a_server_does_not_have(server, monkeypatch):
    assert debuginfod.find(BUILD_ID) is None
    other = "ff" * 20
    server.files[path_of(other)] = b""
    assert debuginfod.find(other) is None
    monkeypatch.setattr(debuginfod, "_LIMIT", 7)
    server.files[path_of(other)] = b"too much"
    assert debuginfod.find(other) is None
    assert server.asked == [path_of(BUILD_ID), path_of(other), path_of(other)]


def test_a_server_that_is_not_there_is_asked_once_and_then_the_next(server, monkeypatch):
    gone = Server()
    gone.close()
    monkeypatch.setenv("DEBUGINFOD_URLS", f"{gone.url} {server.url}")
    server.files[path_of(BUILD_ID)] = b"symbols"
    assert debuginfod.find(BUILD_ID) is not None
    assert debuginfod._silent == {gone.url}


def test_a_folder_that_others_write_to_is_not_used(server, monkeypatch, tmp_path):
    monkeypatch.undo()
    monkeypatch.setenv("DEBUGINFOD_URLS", server.url)
    monkeypatch.setenv("DEBUGINFOD_CACHE_PATH", str(tmp_path / "open"))
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    server.files[path_of(BUILD_ID)] = b"symbols"
    assert debuginfod.find(BUILD_ID) is None
    assert not server.asked


def test_a_file_of_another_build_is_not_taken(server):
    server.files[path_of(BUILD_ID)] = b"\x7fELF and nothing else"
    with debug.separate(BUILD_ID) as found:
        assert found is None
    assert server.asked == [path_of(BUILD_ID)]
