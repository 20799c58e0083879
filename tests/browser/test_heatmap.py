"""Test a heat map in a real browser: exact counts under the mouse, and hostile names."""

from __future__ import annotations

import io

import numpy as np

from pytracer.model import Histograms
from pytracer.model.buckets import BUCKETS, bucket_of, by_power
from pytracer.plan import make_plan
from pytracer.request import Request
from pytracer.sinks import make_sink
from pytracer.spec import registry
from support.browser import evaluate
from support.fake_kernel import FakeKernel

SCHEMA = make_plan(Request(registry.get("biolatency")), FakeKernel()).schema
HOSTILE = (
    """</title><script>document.title='hacked'</script><img src=x onerror="document.title='hacked'">"'&]]>"""
)


def test_the_mouse_shows_exact_counts(tmp_path):
    fine = np.zeros((1, BUCKETS), dtype="u8")
    fine[0, bucket_of(5000)] = 23
    values = {"total_ns": [1], "avg_ns": [1], "max_ns": [5000]}
    item = Histograms("row", 1e9, 1.0, {"disk": [HOSTILE]}, "requests", by_power(fine), values, fine)
    stream = io.StringIO()
    sink = make_sink("heatmap", stream, timestamps=False, terminal=False)
    sink.open(SCHEMA)
    sink.emit(item)
    sink.close()
    script = """
      var cell = document.querySelector(".cell");
      cell.dispatchEvent(new MouseEvent("mouseover", {bubbles: true}));
      return [document.getElementById("details").textContent, document.title,
              document.querySelectorAll("script").length, document.querySelectorAll("img").length,
              document.querySelectorAll(".line").length];
    """
    details, title, scripts, images, lines = evaluate(tmp_path, stream.getvalue(), script)
    assert details.endswith(", 1 s, [4.608 us, 5.12 us): 23 requests")
    assert "hacked" not in title
    assert (scripts, images, lines) == (2, 0, 2)
