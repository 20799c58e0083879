"""Documents of their own that the page shows in frames: pictures, and the page of ``explain``.

A frame cannot send the token. So each document has an address that nobody can guess, good for one time and a
short while. It runs without an origin, may run the one script that we put into it, and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from collections import OrderedDict

from pytracer.explain.style import SCRIPT as EXPLAIN_SCRIPT
from pytracer.sinks.flamegraph_script import SCRIPT as FLAMEGRAPH_SCRIPT
from pytracer.sinks.heat_axes import SCRIPT as HEATMAP_SCRIPT
from pytracer.web.http import HttpError, Response

SVG, HTML = "image/svg+xml; charset=utf-8", "text/html; charset=utf-8"
_KEPT, _BYTES, _SECONDS = 16, 64 << 20, 30.0
PREFIX = "/document/"


def _policy() -> str:
    """Return the policy: scripts are named by their digests."""
    scripts = (EXPLAIN_SCRIPT, FLAMEGRAPH_SCRIPT, HEATMAP_SCRIPT)
    digests = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{script}'" for script in digests)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'self'; sandbox allow-scripts"
    )


class Documents:
    """Documents that wait to be fetched."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, tuple[float, bytes, str]] = OrderedDict()
        self._headers = {"Content-Security-Policy": _policy()}

    def add(self, text: str, kind: str) -> str:
        """Keep a document; return its path."""
        content = text.encode("utf-8", "backslashreplace")
        name = secrets.token_urlsafe(24)
        self._waiting[name] = time.monotonic(), content, kind
        while len(self._waiting) > 1 and (
            len(self._waiting) > _KEPT or sum(len(entry[1]) for entry in self._waiting.values()) > _BYTES
        ):
            self._waiting.popitem(last=False)
        return PREFIX + name

    def take(self, path: str) -> Response:
        """Return a document, once. Raises HttpError."""
        added, content, kind = self._waiting.pop(path.removeprefix(PREFIX), (0.0, b"", ""))
        if not kind or time.monotonic() - added > _SECONDS:
            raise HttpError(404, "there is no such document any more")
        return Response(content, kind, headers=self._headers)
