"""Test the page of pytracer serve in a real browser: live rows, pictures, hostile names, other origins."""

from __future__ import annotations

import http.server
import shlex
import subprocess
import sys
import threading

import pytest

from support.devtools import browser
from support.pages import serve_page
from support.workloads import workload

pytestmark = pytest.mark.kernel
HOSTILE = """/pt/<img src=x onerror="document.title='hacked'"><script>document.title='hacked'</script>'&"""
ROW = "document.querySelectorAll('#rows tbody tr').length"
CHOOSE = (
    """(button => button && (button.click(), true))(document.querySelector('#runs [data-run="NUMBER"]'))"""
)
REFUSED = "(() => { try { WHAT; return 'done'; } catch (error) { return error.name; } })()"
ATTACK = """
  (async function () {
    const told = [];
    const sent = {method: "POST", body: JSON.stringify({tracer: "syscalls"})};
    for (const [path, options] of [
      ["/", {}], ["/api/tracers", {headers: {"X-Pytracer-Token": "TOKEN"}}], ["/api/start", sent],
      ["/api/start", {...sent, headers: {"Content-Type": "application/json", "X-Pytracer-Token": "TOKEN"}}],
    ]) {
      try { told.push((await fetch("http://127.0.0.1:PORT" + path, options)).type); }
      catch (error) { told.push("refused"); }
    }
    return told;
  })()
"""


class OtherSite(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<p>another site</p>")

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def page_tab(tmp_path_factory):
    """Open a page without runs in a browser."""
    with serve_page("--allow-commands") as page, browser(tmp_path_factory.mktemp("browser")) as tab:
        tab.resize(1200, 900)
        tab.open(page.url)
        tab.wait_for("document.querySelectorAll('#tracer option').length > 50")
        yield page, tab


def run(page_tab, tracer, **sent):
    """Start a run, and have the page show it."""
    page, tab = page_tab
    number = page.start(tracer, **sent)
    tab.wait_for(CHOOSE.replace("NUMBER", str(number)))
    tab.wait_for(f"state.shown && state.shown.run === {number}")
    return page, tab, number


def test_the_token_is_removed_from_the_address(page_tab):
    page, tab = page_tab
    assert tab.evaluate("location.href") == f"http://127.0.0.1:{page.port}/"
    assert not [url for url in tab.requested() if page.token in url]
    assert {url.split("/")[2] for url in tab.requested() if url.startswith("http")} == {page.host}
    assert tab.evaluate("document.cookie") == ""


def test_the_form_starts_a_tracer_and_the_button_stops_it(page_tab):
    page, tab = page_tab
    command = f"{workload('calls')} getppid 23"
    tab.evaluate(f"""
      element("tracer").value = "syscalls";
      element("tracer").dispatchEvent(new Event("change"));
      element("form").elements["option:by"].value = "syscall,comm";
      element("form").elements["command"].value = {command!r};
      element("start").click();
    """)
    tab.wait_for("state.shown && state.shown.title.startsWith('whole run')")
    rows = tab.evaluate(
        "Array.from(document.querySelectorAll('#rows tbody tr'), r => r.innerText.split('\\t'))"
    )
    assert ["getppid", "calls", "23"] in [row[:3] for row in rows]
    assert tab.evaluate("element('command').textContent") == (
        f"pytracer syscalls --by syscall,comm -- {shlex.join(command.split())}"
    )
    tab.evaluate("document.querySelectorAll('#rows th button')[2].click()")
    calls = tab.evaluate(
        "Array.from(document.querySelectorAll('#rows tbody tr'), r => Number(r.cells[2].textContent))"
    )
    assert calls == sorted(calls, reverse=True)
    tab.evaluate("element('filter').value = 'getppid'; element('filter').dispatchEvent(new Event('input'))")
    assert tab.evaluate(ROW) == 1
    number = page.start("exitsnoop", filters={"comm": ["pt-nobody"]})
    tab.wait_for(CHOOSE.replace("NUMBER", str(number)))
    tab.wait_for("document.querySelector('#runs [aria-current=true] .state').textContent === 'running'")
    tab.evaluate("element('stop').click()")
    tab.wait_for("document.querySelector('#runs [aria-current=true] .state').textContent === 'ended'")


def test_hostile_names_are_text(page_tab):
    command = shlex.join([workload("opens"), "openat", "0", "7", HOSTILE])
    _, tab, _ = run(page_tab, "opensnoop", filters={"comm": ["opens"]}, command=command)
    tab.wait_for(f"{ROW} === 7")
    path = "document.querySelector('#rows tbody tr').lastChild"
    assert tab.evaluate(f"{path}.textContent") == HOSTILE
    assert tab.evaluate(f"{path}.children.length") == 0
    assert tab.evaluate("document.title") == "pytracer"
    assert tab.evaluate("document.images.length") == 0
    # Even a mistake in the page's script could not make HTML of text.
    html = "document.body.innerHTML = '<b>x</b>'"
    assert tab.evaluate(REFUSED.replace("WHAT", html)) == "TypeError"
    assert tab.evaluate(REFUSED.replace("WHAT", "eval('1')")) == "EvalError"


def number_of(tab, name):
    """Return the second number of the row that begins with a name; 0 if there is none."""
    rows = tab.evaluate(
        "Array.from(document.querySelectorAll('#rows tbody tr'), r => r.innerText.split('\\t'))"
    )
    return next((int(row[1]) for row in rows if row[0] == name), 0)


def test_earlier_intervals_add_up_to_the_whole_run(page_tab):
    script = f"for n in 1 2 3 4 5; do {workload('calls')} getppid 23; sleep 0.3; done"
    command = shlex.join(["sh", "-c", script])
    _, tab, _ = run(page_tab, "syscalls", filters={"comm": ["calls"]}, command=command, interval="0.5")
    tab.wait_for("state.shown.title.startsWith('whole run')")
    last = tab.evaluate("state.shown.at")
    assert last >= 3
    counts = []
    for index in range(last - 1, -1, -1):
        assert tab.evaluate("element('earlier').disabled") is False
        tab.evaluate("element('earlier').click()")
        tab.wait_for(f"state.shown.at === {index}")
        assert f"{index + 1} of {last + 1}, paused" in tab.evaluate("element('title').textContent")
        counts.append(number_of(tab, "getppid"))
    assert tab.evaluate("element('earlier').disabled") is True
    assert sum(counts) == 115
    tab.evaluate("element('whole').click()")
    tab.wait_for("state.shown.at === 'all'")
    assert number_of(tab, "getppid") == 115
    tab.evaluate("element('whole').click()")
    tab.wait_for(f"state.shown.at === {last}")


def test_earlier_events(page_tab):
    command = shlex.join([workload("opens"), "openat", "0", "700", "/pt/not/there"])
    _, tab, _ = run(page_tab, "opensnoop", filters={"comm": ["opens"]}, command=command)
    tab.wait_for("state.shown.total === 700")
    tab.evaluate(
        "document.body.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowLeft', bubbles: true}))"
    )
    tab.wait_for("state.shown.at === 100")
    assert "from the 101. on, paused" in tab.evaluate("element('title').textContent")
    assert tab.evaluate(ROW) == 300
    tab.evaluate("element('pause').click()")
    tab.wait_for("state.shown.at === 400")


def test_a_row_leads_to_its_process_and_its_events(page_tab):
    code = "import os, time\nwhile True: os.path.exists('/pt/not/there'); time.sleep(0.01)"
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        pid = str(process.pid)
        _, tab, number = run(
            page_tab, "syscalls", options={"by": "pid"}, filters={"pid": [pid], "uid": ["0"]}
        )
        tab.wait_for(f"{ROW} === 1")
        tab.evaluate("document.querySelector('#rows tbody tr').click()")
        tab.wait_for("!element('detail').hidden")
        assert f"pid          {pid}" in tab.evaluate("element('about-row').textContent")
        selected_pids = {number}
        run_filters = f"-p {pid} --uid 0"  # the run's filters hold, too
        for command in (
            f"top {run_filters} --by tid,comm",
            f"profile {run_filters}",
            f"statsnoop {run_filters}",
        ):
            closer = f"""Array.from(document.querySelectorAll('#closer button')).find(
                one => one.firstChild.textContent === 'pytracer {command}')"""
            assert tab.evaluate(f"{closer} !== undefined"), command
            tab.evaluate(f"{closer}.click()")
            tab.wait_for(f"state.run > {max(selected_pids)}")
            selected_pids.add(tab.evaluate("state.run"))
            tab.wait_for(f"state.shown && {ROW} > 0")
            assert tab.evaluate("element('detail').hidden") is True
            tab.evaluate("element('stop').click()")
            tab.evaluate(f"choose({number})")
            tab.wait_for(f"state.shown && state.shown.run === {number}")
            tab.wait_for(f"{ROW} === 1")
            tab.evaluate("document.querySelector('#rows tbody tr').click()")
            tab.wait_for("!element('detail').hidden")
        tab.evaluate("element('stop').click()")
        process.kill()


def test_pictures_are_in_frames_without_an_origin(page_tab):
    burn = f"{workload('calls')} getppid 5000000"
    _, tab, _ = run(page_tab, "profile", command=burn)
    tab.wait_for("state.shown.title.startsWith('whole run')")
    tab.evaluate("element('draw').click()")
    frame = "document.querySelector('#picture iframe')"
    tab.wait_for(f"{frame} !== null")
    assert tab.evaluate(f"{frame}.getAttribute('sandbox')") == "allow-scripts"
    assert tab.evaluate(f"{frame}.contentDocument") is None
    assert tab.evaluate(f"fetch({frame}.src).then(answer => answer.status)") == 404


def test_a_tracer_is_explained(page_tab):
    _, tab = page_tab
    tab.evaluate("element('tracer').value = 'exitsnoop'; showForm(); element('explain').click()")
    tab.wait_for("document.querySelector('#frame iframe') !== null")
    assert tab.evaluate("element('trouble').hidden") is True


def test_a_mistake_is_reported_with_its_hint(page_tab):
    _, tab = page_tab
    tab.evaluate(
        "element('tracer').value = 'syscalls'; showForm(); "
        "element('form').elements['option:by'].value = 'nonsense'; element('start').click()"
    )
    assert "nonsense" in tab.wait_for("!element('trouble').hidden && element('trouble').textContent")


def test_other_sites_get_nothing(page_tab, tmp_path):
    page, _ = page_tab
    site = http.server.ThreadingHTTPServer(("127.0.0.1", 0), OtherSite)
    threading.Thread(target=site.serve_forever, daemon=True).start()
    runs = len(next(page.stream(0))["runs"])
    try:
        with browser(tmp_path) as tab:
            tab.open(f"http://127.0.0.1:{site.server_address[1]}/")
            tab.wait_for("document.body && document.body.innerText === 'another site'")
            attack = ATTACK.replace("PORT", str(page.port)).replace("TOKEN", page.token)
            assert tab.evaluate(attack) == ["refused"] * 4
            # A name of theirs that leads here makes their page one of the same origin: Host tells.
            tab.open(f"http://rebound.test:{page.port}/")
            answer = tab.wait_for("document.body && document.body.innerText")
            assert "not the address of the page" in answer
            options = f"{{headers: {{'X-Pytracer-Token': '{page.token}'}}}}"
            assert tab.evaluate(f"fetch('/api/tracers', {options}).then(told => told.status)") == 421
    finally:
        site.shutdown()
        site.server_close()
    assert len(next(page.stream(0))["runs"]) == runs


def test_the_console_has_no_complaint(page_tab):
    _, tab = page_tab
    expected_complaints = (
        "400",
        "404",
        "eval",
        "TrustedHTML",
        "TrustedScript",
        "require-trusted-types-for",
    )  # what the tests above tried
    assert [
        complaint
        for complaint in tab.complaints()
        if not any(part in complaint for part in expected_complaints)
    ] == []
