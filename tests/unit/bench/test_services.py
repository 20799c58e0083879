"""Test how scripts/services holds answers against those of servers, and presents them."""

from __future__ import annotations

import pytest
from bench import services_page as pages
from bench.questions import Answer, Asker, Service, events, total
from bench.servers import Server, as_user, free_port
from bench.services import SERVICES, main

RECORDS = [
    {"kind": "row", "calls": 3},
    {"kind": "summary", "calls": 5},
    {"kind": "summary", "calls": 2},
    {"kind": "event", "status": "failed"},
    {"kind": "event", "status": "ok"},
]


def asked(said=5, counted=5):
    answer = Answer("how often", "trace 'a|b'", said, counted, "its count")
    return Service("a server", "1.0", "5 calls", [answer], {"no tracer": [1.0, 2.0], "pytracer": [2.0, 3.0]})


def test_the_whole_run_is_added_up_and_events_are_selected():
    assert total(RECORDS, "calls") == 7
    assert (events(RECORDS), events(RECORDS, status="failed")) == (2, 1)


def test_an_answer_agrees_with_the_server_or_is_marked():
    page = pages.page(f"head\n{pages.MARK}\nold", {"x": ("a machine; a note", asked())})
    assert page.startswith(f"head\n{pages.MARK}\n\nTaken on a machine.\n")
    assert "| how often | `trace 'a\\|b'` | 5 | 5 | its count |" in page
    assert "(1.5 s): pytracer 1.67 (1.50 to 2.00)." in page
    assert "old" not in page
    assert "its count **differs** |" in pages.page(pages.MARK, {"x": ("a machine", asked(said=4))})


def test_commands_are_shown_as_a_user_would_write_them(tmp_path):
    service = Service("s", "", "")
    asker = Asker(service, Server(7, tmp_path, 4000), "nginx", children=True)
    asker.note("q", "httpsnoop", "--port", "4000", "a*", said=1, counted=1, source="")
    assert service.answers[0].command == "httpsnoop -p nginx --children --port PORT 'a*'"


def test_what_is_kept_is_what_is_shown():
    stored = pages.load(pages.DATA.read_text())
    assert pages.load(pages.dump(stored)) == stored
    assert pages.page(pages.PAGE.read_text(), stored) == pages.PAGE.read_text()
    assert list(stored) == [name for name in SERVICES if name in stored]
    assert all(answer.agrees for _, service in stored.values() for answer in service.answers)


def test_unknown_servers_are_refused(capsys):
    with pytest.raises(SystemExit):
        main(["oracle"])
    assert "no servers are called oracle" in capsys.readouterr().err


def test_servers_run_as_an_ordinary_user(monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert as_user(["true"])[0] == "setpriv"
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert as_user(["true", 1]) == ["true", "1"]
    assert 0 < free_port() < 65536
