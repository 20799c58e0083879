"""Test how scripts/services holds answers against those of servers, and presents them."""

from __future__ import annotations

import pytest
from bench import services_page as pages
from bench.questions import UNTRACED, Answer, Asker, Question, Service, Subject, events, total
from bench.servers import Server, as_user, free_port
from bench.service_costs import BY_BPFTRACE, comparisons
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
    costs = {UNTRACED: [1.0, 2.0], "trace": [2.0, 3.0], BY_BPFTRACE + "trace": [4.0, 6.0], "why": [1.0, 2.0]}
    return Service("a server", "1.0", "5 calls", [answer], costs)


def subject(folder, *questions, children=False):
    """Return a server that does not run."""
    return Subject("s", "", "", Server(7, folder, 4000), "nginx", int, questions, children)


def test_the_whole_run_is_added_up_and_events_are_selected():
    assert total(RECORDS, "calls") == 7
    assert (events(RECORDS), events(RECORDS, status="failed")) == (2, 1)


def test_an_answer_agrees_with_the_server_or_is_marked():
    page = pages.page(f"head\n{pages.MARK}\nold", {"x": ("a machine; a note", asked())})
    assert page.startswith(f"head\n{pages.MARK}\n\nTaken on a machine.\n")
    assert "| how often | `trace 'a\\|b'` | 5 | 5 | its count |" in page
    assert "Without a tracer the load takes 1.5 s" in page
    assert "| `trace` | 1.75 (1.50 to 2.00) | 3.50 (3.00 to 4.00) |" in page
    assert "| `why` | 1.00 (1.00 to 1.00) |  |" in page
    assert "old" not in page
    assert "its count **differs** |" in pages.page(pages.MARK, {"x": ("a machine", asked(said=4))})


def test_commands_are_shown_as_a_user_would_write_them(tmp_path):
    asker = Asker(subject(tmp_path, children=True))
    asker.note("q", "httpsnoop", "--port", "4000", "a*", said=1, counted=1, source="")
    assert asker.service.answers[0].command == "httpsnoop -p nginx --children --port PORT 'a*'"
    assert asker.filters == ["-p", "7", "--children"]


def test_a_question_is_held_against_the_growth_of_a_counter(tmp_path, monkeypatch):
    asker, work, counts = Asker(subject(tmp_path)), [], iter((5, 13))
    monkeypatch.setattr(asker, "trace", lambda *words, work: (work(), RECORDS)[1])
    asker.ask(
        Question(
            "q", ("syscalls",), lambda records: total(records, "calls", calls=5),
            counter=lambda: next(counts), source="", besides=3, work=lambda: work.append(1),
        )
    )  # fmt: skip
    assert (work, asker.service.answers[0].said, asker.service.answers[0].counted) == ([1], 5, 5)


def test_costs_are_of_questions_about_the_load(tmp_path):
    own = Question("q", ("dbslower",), len, int, "", work=int)
    commands = comparisons(subject(tmp_path, Question("q", ("dbstat",), len, int, "", bpftrace="x"), own))
    assert [words for words, _ in commands] == [("dbstat",), ("syscalls",), ("why",)]
    assert commands[0][1] == "x"
    assert 'comm == "nginx"' in commands[1][1]


def test_samples_may_differ_a_little():
    assert Answer("q", "profile", 95, 100, "", within=5).agrees
    assert not Answer("q", "profile", 94, 100, "", within=5).agrees


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
