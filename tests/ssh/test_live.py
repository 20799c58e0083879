"""Test the live screen over a real sshd on the loopback interface of a network namespace."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from support import packets
from support.cli import COMMAND, wait_for
from support.terminals import Terminal

pytestmark = pytest.mark.kernel
PORT = 2222
CONFIG = """
ListenAddress 127.0.0.1:{port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/user.pub
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
PidFile none
"""


@pytest.fixture
def ssh(tmp_path):
    """Start a server that accepts one key. Returns the words that log in there, as the same user."""
    for key in ("host", "user"):
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / key)]
        subprocess.run(words, check=True)
    config = tmp_path / "sshd_config"
    config.write_text(CONFIG.format(port=PORT, folder=tmp_path))
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    server_path = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
    assert server_path, "the package openssh-server is missing"
    with packets.namespace(), subprocess.Popen([server_path, "-D", "-f", str(config)]) as server:
        wait_for(is_listening, "the server listens")
        options = ["StrictHostKeyChecking=no", f"UserKnownHostsFile={tmp_path}/known", "LogLevel=ERROR"]
        words = ["ssh", "-tt", "-F", "none", "-p", str(PORT), "-i", str(tmp_path / "user")]
        yield [*words, *(word for option in options for word in ("-o", option)), "127.0.0.1"]
        server.terminate()


def is_listening():
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", PORT)) == 0


def remote(ssh, *words):
    """Return the words that run pytracer at the other end, with the processes' mark of this test."""
    variables = [f"{name}={value}" for name, value in os.environ.items() if name.startswith("PYTRACER")]
    return [*ssh, shlex.join(["env", *variables, *COMMAND, *map(str, words)])]


def tracers(pid):
    """Return the processes that run pytracer for this test."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"--live" in words and str(pid).encode() in words and words[0] != b"ssh":
                found.append(int(folder.name))
    return found


@pytest.mark.parametrize("words", [["syscalls", "--live"], ["top"]])
@pytest.mark.parametrize("size", [(80, 24), (200, 50)])
def test_the_screen_fits_the_window_and_ctrl_c_restores_the_terminal(ssh, busy, words, size):
    columns, rows = size
    with Terminal(command=remote(ssh, *words, "-p", busy), columns=columns, rows=rows) as term:
        term.wait_for("getppid" if words[0] == "syscalls" else str(busy))
        term.resize(120, 30)
        term.wait_for(lambda _: len(term.lines) == 30 and term.lines[-1].strip(), "the last line has keys")
        term.type("\x03")
        assert term.finish() == 0
        assert term.is_restored()


def test_nothing_stays_attached_when_the_connection_is_lost(ssh, busy):
    with Terminal(command=remote(ssh, "syscalls", "--live", "-p", busy)) as term:
        term.wait_for("getppid")
        assert tracers(busy)
        term.process.kill()
        wait_for(lambda: not tracers(busy), "pytracer has ended")
