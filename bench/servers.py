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
    """Run PostgreSQL on a Unix socket alone: ``psql -h FOLDER -U postgres``."""
    with folder() as path:
        data = path / "data"
        call([postgresql_program("initdb"), "-D", data, "-U", "postgres", "-A", "trust", "-N"])
        words = [postgresql_program("postgres"), "-D", data, "-k", path, "-h", ""]
        options = [word for setting in ("autovacuum=off", *settings) for word in ("-c", setting)]
        ready = [postgresql_program("pg_isready"), "-q", "-h", str(path), "-U", "postgres"]

        def is_up() -> bool:
            return subprocess.run(ready, check=False).returncode == 0

        with running([*words, *options], is_up, path / "log") as pid:
            yield Server(pid, path)


def sql(server: Server, text: str, database: str = "postgres") -> str:
    """Run SQL in PostgreSQL by psql, and return what it prints: rows alone, columns between ``|``."""
    words = [
        "psql",
        "-X",
        "-q",
        "-A",
        "-t",
        "-h",
        server.folder,
        "-U",
        "postgres",
        "-d",
        database,
        "-c",
        text,
    ]
    return call(words).strip()


@contextlib.contextmanager
def mariadb() -> Iterator[Server]:
    """Run MariaDB on a Unix socket alone: FOLDER/socket."""
    with folder() as path:
        data = path / "data"
        words = [find("mariadbd"), "--no-defaults", f"--datadir={data}", f"--socket={path}/socket"]
        words += ["--skip-networking", "--skip-grant-tables", "--innodb-buffer-pool-size=32M"]
        install = [find("mariadb-install-db"), "--no-defaults", f"--datadir={data}", "--skip-test-db"]
        call([*install, "--auth-root-authentication-method=normal"])
        ready = [find("mariadb"), "--no-defaults", f"--socket={path}/socket", "-e", "select 1"]

        def is_up() -> bool:
            return subprocess.run(ready, check=False, capture_output=True).returncode == 0

        with running(words, is_up, path / "log") as pid:
            yield Server(pid, path)


def mariadb_sql(server: Server, text: str, *options: str) -> str:
    """Run SQL in MariaDB by its client, and return the rows, columns between tabs."""
    words = [find("mariadb"), "--no-defaults", f"--socket={server.folder}/socket", "-N", "-B", *options]
    return call([*words, "-e", text]).strip()
