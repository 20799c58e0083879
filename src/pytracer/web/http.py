"""As much of HTTP/1.1 as the page needs: one request a connection, with bounds on all that a client sends."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from pytracer.record import default_factory, record

HEAD_MAX, BODY_MAX = 1 << 13, 1 << 16
"""Bytes of a request's head and body, at most."""
PATIENCE = 5.0
"""Seconds within which a whole request has to be there."""
_LINE = re.compile(rb"(GET|POST) (/[!-~]{0,1024}) HTTP/1\.[01]")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}):[ \t]*([ -~\t]*)")
_LENGTH = re.compile(r"[0-9]{1,8}")
_REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    409: "Conflict",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    421: "Misdirected Request",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


class HttpError(Exception):
    """A request that is refused: the status, and why."""

    def __init__(self, status: int, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.status, self.message, self.hint = status, message, hint


@record
class HttpRequest:
    """A request. ``headers`` have lower-case names, each once."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes = b""

    def document(self) -> dict[str, Any]:
        """Return the JSON object that was sent. Raises HttpError."""
        if self.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            raise HttpError(415, "what is sent has to be application/json")
        try:
            found = json.loads(self.body)
        except (ValueError, RecursionError):
            raise HttpError(400, "what was sent is no JSON") from None
        if not isinstance(found, dict):
            raise HttpError(400, "what was sent is no JSON object")
        return found


@record
class Response:
    """A response. ``headers`` are added to those of every response."""

    body: bytes
    kind: str
    status: int = 200
    headers: Mapping[str, str] = default_factory(factory=dict)

    def head(self, length: int | None = None) -> bytes:
        """Return the head of the answer; without a ``length`` it ends with the connection."""
        lines = [f"HTTP/1.1 {self.status} {_REASONS[self.status]}", f"Content-Type: {self.kind}"]
        lines += [f"{name}: {value}" for name, value in {**COMMON, **self.headers}.items()]
        lines += [] if length is None else [f"Content-Length: {length}"]
        return "\r\n".join([*lines, "", ""]).encode("ascii")


PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; frame-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
"""What the page may load and do: its own files alone, and no text becomes HTML or script."""
COMMON = {
    "Connection": "close",
    "Cache-Control": "no-store",
    "Content-Security-Policy": PAGE_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""The headers of every answer."""


def json_response(document: object, status: int = 200) -> Response:
    """Return a document as JSON, in ASCII."""
    return Response(json.dumps(document).encode("ascii"), "application/json", status)


async def read_request(reader: asyncio.StreamReader) -> HttpRequest | None:
    """Read a request; None: the client has gone. Raises HttpError for what is wrong, too large or slow."""
    try:
        return await asyncio.wait_for(_read(reader), PATIENCE)
    except asyncio.TimeoutError:
        raise HttpError(408, "the request did not come in time") from None
    except asyncio.IncompleteReadError:
        return None
    except asyncio.LimitOverrunError:
        raise HttpError(413, "the head of the request is too large") from None


async def _read(reader: asyncio.StreamReader) -> HttpRequest:
    head = await reader.readuntil(b"\r\n\r\n")
    if len(head) > HEAD_MAX:
        raise HttpError(413, "the head of the request is too large")
    first, *lines = head[:-4].split(b"\r\n")
    line = _LINE.fullmatch(first)
    if line is None:
        is_http = first.partition(b" ")[0].isalpha() and first.endswith((b"HTTP/1.1", b"HTTP/1.0"))
        raise HttpError(405 if is_http else 400, "GET or POST is wanted")
    headers = dict[str, str]()
    for header in lines:
        field = _FIELD.fullmatch(header)
        if field is None:
            raise HttpError(400, "a header is wrong")
        name = field[1].decode().lower()
        if name in headers:
            raise HttpError(400, "a header comes twice")
        headers[name] = field[2].decode().strip()
    if "transfer-encoding" in headers:
        raise HttpError(400, "the length of what is sent has to be known")
    length = headers.get("content-length", "0")
    if not _LENGTH.fullmatch(length):
        raise HttpError(400, "the length is no number")
    if int(length) > BODY_MAX:
        raise HttpError(413, f"more than {BODY_MAX} bytes were sent")
    path, _, query = line[2].decode().partition("?")
    body = await reader.readexactly(int(length))
    return HttpRequest(line[1].decode(), path, dict(parse_qsl(query, max_num_fields=16)), headers, body)
