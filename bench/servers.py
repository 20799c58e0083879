"""Start servers of the distribution's packages as an ordinary user, with data and ports of their own.

They listen on a Unix socket in a folder of their own, or on the loopback interface.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bench.measure import MissingPeerError
from bench.peers import find
from pytracer.record import record

USER = "nobody"
LIMIT = 60.0  # seconds for a server to answer


@record
class Server:
    """A running server: its process, the folder of its data and sockets, its port on 127.0.0.1 (0: none)."""

    pid: int
    folder: Path
    port: int = 0


def as_user(words: Sequence[object]) -> list[str]:
    """Return the words that run a command as an ordinary user, which servers insist on."""
    user = pwd.getpwnam(USER)
    prefix = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--"]
    return [*(prefix if os.geteuid() == 0 else ()), *map(str, words)]


def call(words: Sequence[object], **options: object) -> str:
    """Run a command as that user, and return its output. Raises CalledProcessError."""
    done = subprocess.run(as_user(words), check=True, capture_output=True, text=True, cwd="/", **options)  # type: ignore[call-overload]
    return str(done.stdout)


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """Make a folder that belongs to that user, with a short path: sockets have 107 bytes for it."""
    path = Path(tempfile.mkdtemp(prefix="pt-"))
    try:
        if os.geteuid() == 0:
            user = pwd.getpwnam(USER)
            os.chown(path, user.pw_uid, user.pw_gid)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def free_port() -> int:
    """Return a port of the loopback interface that nobody uses now."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@contextlib.contextmanager
def running(words: Sequence[object], is_up: Callable[[], bool], log: Path) -> Iterator[int]:
    """Run a server until the end of the block, and yield its process id once ``is_up()``. Raises
    RuntimeError with its last words if it does not come up."""
    with (
        log.open("wb") as out,
        subprocess.Popen(
            as_user(words), stdout=out, stderr=out, stdin=subprocess.DEVNULL, cwd="/"
        ) as process,
    ):
        try:
            deadline = time.monotonic() + LIMIT
            while not is_up():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(
                        f"{words[0]} does not come up: {log.read_text(errors='replace')[-500:]}"
                    )
                time.sleep(0.05)
            yield process.pid
        finally:
            process.send_signal(signal.SIGINT if "postgres" in str(words[0]) else signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


def listens(port: int) -> Callable[[], bool]:
    """Return a function that says whether somebody listens on a port of 127.0.0.1."""

    def connects() -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", port)) == 0

    return connects


def postgresql_program(name: str) -> str:
    """Find a program of the newest PostgreSQL here. Raises MissingPeerError."""
    found = Path("/usr/lib/postgresql").glob(f"*/bin/{name}")
    paths = sorted(map(str, found), key=lambda path: int(path.split("/")[4]))
    if not paths:
        raise MissingPeerError("postgresql is not installed")
    return paths[-1]


@contextlib.contextmanager
def postgresql(settings: Sequence[str] = ()) -> Iterator[Server]:
    """Run PostgreSQL on a Unix socket in its folder and on a port of 127.0.0.1 (:func:`place`)."""
    with folder() as path:
        data, port = path / "data", free_port()
        call([postgresql_program("initdb"), "-D", data, "-U", "postgres", "-A", "trust", "-N"])
        words = [postgresql_program("postgres"), "-D", data, "-k", path, "-h", "127.0.0.1", "-p", port]
        options = [word for setting in ("autovacuum=off", *settings) for word in ("-c", setting)]
        ready = [postgresql_program("pg_isready"), "-q", "-h", str(path), "-p", str(port), "-U", "postgres"]

        def is_up() -> bool:
            return subprocess.run(ready, check=False).returncode == 0

        with running([*words, *options], is_up, path / "log") as pid:
            yield Server(pid, path, port)


def place(server: Server) -> list[object]:
    """Return the options of PostgreSQL's programs that say where a server is."""
    return ["-h", server.folder, "-p", server.port, "-U", "postgres"]


def sql(server: Server, text: str) -> str:
    """Run SQL in PostgreSQL by psql, and return what it prints: rows alone, columns between ``|``."""
    return call(["psql", "-X", "-q", "-A", "-t", *place(server), "-c", text]).strip()


@contextlib.contextmanager
def mariadb() -> Iterator[Server]:
    """Run MariaDB on a Unix socket, FOLDER/socket, and on a port of 127.0.0.1."""
    with folder() as path:
        data, port = path / "data", free_port()
        words = [find("mariadbd"), "--no-defaults", f"--datadir={data}", f"--socket={path}/socket"]
        words += [f"--port={port}", "--bind-address=127.0.0.1", "--skip-name-resolve"]
        words += ["--skip-grant-tables", "--innodb-buffer-pool-size=32M"]
        words += [f"--tmpdir={path}"]  # two that are installed at once remove each other's tables in /tmp
        install = [find("mariadb-install-db"), "--no-defaults", f"--datadir={data}", "--skip-test-db"]
        call([*install, f"--tmpdir={path}", "--auth-root-authentication-method=normal"])
        ready = [find("mariadb"), "--no-defaults", f"--socket={path}/socket", "-e", "select 1"]

        def is_up() -> bool:
            return subprocess.run(ready, check=False, capture_output=True).returncode == 0

        with running(words, is_up, path / "log") as pid:
            yield Server(pid, path, port)


def mariadb_sql(server: Server, text: str, *options: str) -> str:
    """Run SQL in MariaDB by its client, and return the rows, columns between tabs."""
    words = [find("mariadb"), "--no-defaults", f"--socket={server.folder}/socket", "-N", "-B", *options]
    return call([*words, "-e", text]).strip()


@contextlib.contextmanager
def on_port(words: Callable[[Path, int], Sequence[object]]) -> Iterator[Server]:
    """Run a server that listens on a port of 127.0.0.1; ``words`` start it, given its folder and port."""
    with folder() as path:
        port = free_port()
        with running(words(path, port), listens(port), path / "log") as pid:
            yield Server(pid, path, port)


def redis() -> contextlib.AbstractContextManager[Server]:
    """Run redis, without a file of its data."""
    return on_port(
        lambda path, port: [
            *(find("redis-server"), "--port", port, "--bind", "127.0.0.1"),
            *("--save", "", "--dir", path),
        ]
    )


def memcached() -> contextlib.AbstractContextManager[Server]:
    """Run memcached, with two threads that serve."""
    program = find("memcached")
    return on_port(lambda _, port: [program, "-l", "127.0.0.1", "-p", port, "-U", "0", "-t", "2"])


_NGINX = """
daemon off;
worker_processes 2;
pid {path}/pid;
error_log {path}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {path}/body;
    proxy_temp_path {path}/proxy;
    fastcgi_temp_path {path}/fastcgi;
    uwsgi_temp_path {path}/uwsgi;
    scgi_temp_path {path}/scgi;
    keepalive_requests 100000;
    server {{
        listen 127.0.0.1:{port};
        root {path};
        location /status {{ stub_status; }}
    }}
}}
"""


def nginx() -> contextlib.AbstractContextManager[Server]:
    """Run nginx with two workers; /status is its stub_status."""

    def words(path: Path, port: int) -> Sequence[object]:
        (path / "index.html").write_text("twenty-three bytes here")
        (path / "nginx.conf").write_text(_NGINX.format(path=path, port=port))
        return [find("nginx"), "-p", path, "-c", path / "nginx.conf", "-e", path / "error.log"]

    return on_port(words)


_HAPROXY = """
global
    stats socket {path}/admin
    nbthread 2
defaults
    mode http
    timeout connect 10s
    timeout client 60s
    timeout server 60s
frontend front
    bind 127.0.0.1:{port}
    default_backend back
backend back
    server one 127.0.0.1:{behind}
"""


def haproxy(behind: int) -> contextlib.AbstractContextManager[Server]:
    """Run haproxy before a web server on the port ``behind``; FOLDER/admin is its socket."""

    def words(path: Path, port: int) -> Sequence[object]:
        text = _HAPROXY.format(path=path, port=port, behind=behind)
        (path / "haproxy.cfg").write_text(text)
        return [find("haproxy"), "-db", "-f", path / "haproxy.cfg"]

    return on_port(words)
