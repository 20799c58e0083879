"""Test flame graphs in a real browser: zoom, search, and hostile names.

Not among the tests that scripts/test runs by itself: scripts/test tests/browser, with Debian's chromium.
"""

from __future__ import annotations

import io

import pytest

from pytracer.model import StackSnapshot
from pytracer.plan import make_plan
from pytracer.request import Request
from pytracer.sinks import make_sink
from pytracer.spec import registry
from support.browser import evaluate
from support.fake_kernel import FakeKernel

SCHEMA = make_plan(Request(registry.get("profile")), FakeKernel()).schema
HOSTILE = (
    """</title><script>document.title='hacked'</script><img src=x onerror="document.title='hacked'">"'&]]>"""
)
HELPERS = """
  function frame(name) {
    return Array.from(document.querySelectorAll("#frames > g")).find(function (g) {
      return g.dataset.name === name;
    });
  }
  function click(element) { element.dispatchEvent(new MouseEvent("click", {bubbles: true})); }
  function shown() {
    return Array.from(document.querySelectorAll("#frames > g")).filter(function (g) {
      return g.style.display !== "none";
    }).map(function (g) {
      return [g.dataset.name, Math.round(Number(g.querySelector("rect").getAttribute("width")))];
    });
  }
  function search(text) {
    var box = document.getElementById("search");
    box.value = text;
    box.dispatchEvent(new Event("input"));
    return document.getElementById("matched").textContent;
  }
"""


def picture(*rows):
    stream = io.StringIO()
    sink = make_sink("flamegraph", stream, timestamps=False, terminal=False)
    sink.open(SCHEMA)
    names = [column.name for column in SCHEMA.columns]
    sink.emit(
        StackSnapshot(
            "summary", 0.0, 1.0, {name: [row[index] for row in rows] for index, name in enumerate(names)}
        )
    )
    sink.close()
    return stream.getvalue()


@pytest.fixture(scope="module")
def svg():
    return picture(
        (1, "make", ("vfs_read",), ("read", "main"), 60),
        (1, "make", (), ("parse", "main"), 30),
        (2, "sh", ("vfs_read",), ("read",), 10),
    )


def test_a_click_zooms_and_reset_zooms_back(svg, tmp_path):
    script = (
        HELPERS
        + """
      var before = shown();
      click(frame("main"));
      var zoomed = shown(), outer = frame("make").classList.contains("outer");
      var button = document.getElementById("reset").style.visibility;
      click(document.getElementById("reset"));
      return [before, zoomed, outer, button, shown()];
    """
    )
    before, zoomed, outer, button, after = evaluate(tmp_path, svg, script)
    assert before == after
    assert dict(map(tuple, zoomed)) == {
        "all": 1180, "make": 1180, "main": 1180, "parse": 393, "read": 787, "vfs_read": 787,
    }  # fmt: skip
    assert outer is True
    assert button == "visible"


def test_a_search_marks_and_adds_up(svg, tmp_path):
    script = (
        HELPERS
        + """
      var all = search("READ"), none = search("nothing at all"), wrong = search("read(");
      search("vfs");
      var marked = document.querySelectorAll("g.found").length;
      click(frame("main"));
      var zoomed = document.getElementById("matched").textContent;
      window.dispatchEvent(new KeyboardEvent("keydown", {key: "Escape"}));
      return [all, none, wrong, marked, zoomed, document.querySelectorAll("g.found").length, shown().length];
    """
    )
    whole, none, wrong, highlighted, zoomed, cleared, frames = evaluate(tmp_path, svg, script)
    assert whole == "4 frames match, 70.00% of what is shown"  # a match in a match is counted once
    assert none == wrong == "0 frames match, 0.00% of what is shown"
    assert highlighted == 2
    assert zoomed == "1 frames match, 66.67% of what is shown"
    assert (cleared, frames) == (0, 9)


def test_the_mouse_shows_exact_counts(svg, tmp_path):
    script = (
        HELPERS
        + """
      frame("parse").dispatchEvent(new MouseEvent("mouseover", {bubbles: true}));
      return document.getElementById("details").textContent;
    """
    )
    assert evaluate(tmp_path, svg, script) == "parse: 30 samples, 30.00%"


def test_hostile_names_do_nothing(tmp_path):
    svg = picture((1, HOSTILE, (HOSTILE,), (HOSTILE,), 7))
    script = (
        HELPERS
        + """
      click(document.querySelectorAll("#frames > g")[2]);
      search("script");
      return [document.title].concat(["script", "img", "g.found"].map(function (selector) {
        return document.querySelectorAll(selector).length;
      }));
    """
    )
    title, scripts, images, actual = evaluate(tmp_path, svg, script)
    assert "hacked" not in title
    assert (scripts, images, actual) == (2, 0, 3)
