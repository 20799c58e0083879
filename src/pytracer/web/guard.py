"""Accept only requests of this machine's browsers to the page's own address, with the token.

Another web site could have a browser send requests here, by its own name for this address (DNS rebinding) or
from its own pages; Host and Origin tell. Other users of the machine can connect, too: they lack the token.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets

from pytracer.errors import UsageError
from pytracer.web.http import HttpError, HttpRequest

TOKEN_HEADER = "x-pytracer-token"
_HINT = "ssh -L PORT:127.0.0.1:PORT HOST shows the page elsewhere"


def parse_address(text: str) -> tuple[str, int]:
    """Return the address and the port of ``127.0.0.1:8080`` or ``[::1]:8080``. Raises UsageError for what
    others could reach."""
    host, colon, port = text.rpartition(":")
    name = host[1:-1] if host[:1] == "[" and host[-1:] == "]" else host
    if name == "localhost":
        name = "127.0.0.1"
    try:
        address = ipaddress.ip_address(name)
        number = int(port) if port.isascii() and port.isdigit() else -1
    except ValueError:
        number = -1
    if not colon or not 0 <= number <= 0xFFFF:
        raise UsageError(
            f"--web {text!r} is no address with a port", hint="--web 127.0.0.1:8080; port 0: any"
        )
    if not address.is_loopback:
        raise UsageError(f"--web {text!r}: the page is for this machine alone", hint=_HINT)
    return str(address), number


class Guard:
    """Checks each request. ``token`` is a secret of this run of the server."""

    def __init__(self, address: str, port: int) -> None:
        """Accept requests for the page's own address."""
        host = f"[{address}]" if ":" in address else address
        self.hosts = frozenset({f"{host}:{port}", f"localhost:{port}"})
        self.origins = frozenset(f"http://{allowed_host}" for allowed_host in self.hosts)
        self.url = f"http://{host}:{port}/"
        self.token = secrets.token_urlsafe(32)

    def check_source(self, request: HttpRequest) -> None:
        """Check that the request is for this server, and not made by another one's page. Raises HttpError."""
        if request.headers.get("host", "").lower() not in self.hosts:
            raise HttpError(421, "this is not the address of the page")
        origin = request.headers.get("origin")
        if origin is not None and origin.lower() not in self.origins:
            raise HttpError(403, "the request is from another page")
        if request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            raise HttpError(403, "the request is from another page")

    def check_token(self, request: HttpRequest) -> None:
        """Check the token, which comes in a header alone. Raises HttpError."""
        token = request.headers.get(TOKEN_HEADER, "")
        if not hmac.compare_digest(token.encode(), self.token.encode()):
            raise HttpError(401, "the token is missing or wrong", "open the address that pytracer printed")
