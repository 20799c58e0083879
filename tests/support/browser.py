"""Run a headless Chromium (Debian's package ``chromium``): scripts in a page, and screenshots."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

LIMIT = 120


def chromium(folder: Path, page: Path, *options: str) -> str:
    """Open a file. Returns the standard output of the browser. ``folder`` is for its profile."""
    program = shutil.which("chromium")
    assert program, "apt-get install chromium"
    command = [
        program, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
        "--disable-background-networking", "--host-resolver-rules=MAP * ~NOTFOUND",
        f"--user-data-dir={folder / 'chromium'}", *options, page.as_uri(),
    ]  # fmt: skip
    environment = os.environ | {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}  # crash reports
    process = subprocess.run(
        command, capture_output=True, text=True, timeout=LIMIT, check=True, env=environment
    )
    return process.stdout


def evaluate(folder: Path, svg: str, script: str) -> Any:
    """Run a script in an SVG document, behind the document's own; what its function body returns."""
    harness = f"""<script><![CDATA[
      var root = document.querySelector("svg");
      try {{ root.dataset.result = JSON.stringify((function () {{ {script} }})()); }}
      catch (error) {{ root.dataset.result = JSON.stringify({{"error": String(error)}}); }}
    ]]></script>"""
    page = folder / "page.svg"
    page.write_text(svg.replace("</svg>", harness + "</svg>"))
    match = re.search(r'data-result="([^"]*)"', chromium(folder, page, "--dump-dom"))
    assert match, "the script did not run"
    result = json.loads(html.unescape(match[1]))
    assert not (isinstance(result, dict) and "error" in result), result
    return result


def screenshot(folder: Path, page: Path, picture: Path, width: int, height: int) -> None:
    """Write a screenshot (PNG) of a file."""
    chromium(folder, page, f"--window-size={width},{height}", f"--screenshot={picture}")
