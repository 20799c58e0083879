"""Run a debuginfod server on the loopback interface."""

from __future__ import annotations

import contextlib
import http.server
import threading
import time


def path_of(build_id: str) -> str:
    """Return what such a server calls the symbols of a build id."""
    return f"/buildid/{build_id}/debuginfo"


class Server:
    """Serves ``files`` by path; ``asked`` has the requested paths. ``raw`` has whole responses by path, in
    parts, which are sent with a pause of ``pause`` seconds before each."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.raw: dict[str, list[bytes]] = {}
        self.pause = 0.0
        self.requests: list[str] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.requests.append(self.path)
                if self.path in outer.raw:
                    self.speak(outer.raw[self.path])
                    return
                body = outer.files.get(self.path)
                self.send_response(404 if body is None else 200)
                self.end_headers()
                self.wfile.write(body or b"")

            def speak(self, parts):
                with contextlib.suppress(ConnectionError):  # the client was tired of it
                    for part in parts:
                        time.sleep(outer.pause)
                        self.wfile.write(part)

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
