"""Start the box with Vagrant, on a private libvirtd, and run pytracer in it.

The libvirtd has namespaces of its own: its configuration, state and sockets are on mounts of its
own, its bridge, firewall rules and DHCP server in a network of their own without a way out, and
all its processes end with the first of them. So this also works where libvirtd already runs, and
where no init system could start it.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lab.console import last_lines, readable
from lab.errors import LabError

COMMANDS = ("uname -r", "sudo pytracer syscalls -d 5", "sudo pytracer sockcount lo -d 5")
# For a minute there is something to see on the loopback interface.
TRAFFIC = "for ((n = 0; n < 300; n++)); do echo >/dev/udp/127.0.0.1/9; sleep 0.2; done"
START_TRAFFIC = f"sudo systemd-run --quiet --collect bash -c '{TRAFFIC}'"
SOCKET = Path("/run/libvirt/libvirt-sock")
PRIVATE = ("/etc/libvirt", "/var/lib/libvirt", "/var/cache/libvirt", "/var/log/libvirt")
QUIET = {
    "VAGRANT_CHECKPOINT_DISABLE": "1",
    "VAGRANT_BOX_UPDATE_CHECK_DISABLE": "1",
    "VAGRANT_NO_COLOR": "1",
    "VAGRANT_MAX_REBOOT_RETRY_DURATION": "600",  # emulated, into another kernel
    "VAGRANT_DEFAULT_PROVIDER": "libvirt",
}
# What the first serial port says, the kernels' console, goes into a file, too. By an argument of QEMU's:
# where more than one Vagrantfile is read, and the box has one, vagrant-libvirt 0.11 cannot merge serials.
CONSOLE = """\
Vagrant.configure("2") do |config|
  config.vm.provider :libvirt do |machine|
    machine.qemuargs value: "-set"
    machine.qemuargs value: "chardev.charserial0.logfile={path}"
  end
end
"""
CONFIGURATION = {
    "libvirtd.conf": 'auth_unix_rw = "none"\nauth_unix_ro = "none"\n',
    "qemu.conf": (
        'user = "root"\ngroup = "root"\nsecurity_driver = "none"\nremember_owner = 0\nnamespaces = []\n'
        'cgroup_controllers = []\nstdio_handler = "file"\n'
    ),
    "libvirt.conf": 'uri_default = "qemu:///system"\n',
}


def vagrant(
    arguments: list[str], folder: Path, capture: bool = False, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run Vagrant in a folder."""
    environment = os.environ | QUIET | variables
    # Else its progress fills a log; but it would also undo --machine-readable.
    color_options = [] if capture or sys.stdout.isatty() else ["--no-tty"]
    return subprocess.run(
        ["vagrant", *color_options, *arguments], cwd=folder, env=environment, text=True, check=False,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE if capture else None,
    )  # fmt: skip


@contextmanager
def temporary(folder: Path, prefix: str) -> Iterator[Path]:
    """Make a folder that other users can read, for processes of theirs; it is removed in the end."""
    with tempfile.TemporaryDirectory(prefix=prefix, dir=folder, ignore_cleanup_errors=True) as made_path:
        path = Path(made_path)
        path.chmod(0o755)
        yield path


def attempt(checkout: Path, folder: Path, commands: list[str], console: Path | None = None) -> int:
    """Run the whole try in new namespaces; bash is their first process and reaps orphans.

    The output of the machine's console is stored in `console`; without it, its end is shown after a
    failure.
    """
    boxes = Path(os.environ.get("VAGRANT_HOME") or Path.home() / ".vagrant.d") / "boxes"
    with temporary(folder, "try-") as state:
        # Of Vagrant's own folder only the boxes: no machine stays in its index, whatever happens.
        (state / "home").mkdir()
        (state / "home/boxes").symlink_to(boxes.resolve())
        log = state / "console"
        log.touch()
        (state / "home/Vagrantfile").write_text(CONSOLE.format(path=log))
        command = [
            "unshare", "--mount", "--net", "--pid", "--fork", "--mount-proc", "--kill-child=KILL", "--",
            "bash", "-c", '"$@"; exit $?', "box",
            sys.executable, "-m", "lab.box_try", str(checkout), str(state), *commands,
        ]  # fmt: skip
        running = subprocess.Popen(command, cwd=checkout, stdin=subprocess.DEVNULL)
        try:
            status = running.wait()
        finally:
            if running.poll() is None:
                running.send_signal(signal.SIGKILL)  # and with it all the others
                running.wait()
            if console:
                shutil.copyfile(log, console)
        if status and not console:
            print(last_lines(readable(log.read_bytes())), file=sys.stderr)
        return status


def run(*command: str) -> None:
    """Run a program that has to succeed."""
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    if process.returncode:
        last = (process.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise LabError(f"{command[0]} failed: {last}")


def prepare(state: Path) -> None:
    """Mount the file systems and make the network, in the namespaces."""
    run("ip", "link", "set", "lo", "up")
    run("mount", "-t", "sysfs", "sysfs", "/sys")  # of this network namespace
    run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")  # no system bus, no other libvirtd
    for private_path in PRIVATE:
        private_folder = state / private_path.lstrip("/").replace("/", "-")
        private_folder.mkdir()
        Path(private_path).mkdir(parents=True, exist_ok=True)
        run("mount", "--bind", str(private_folder), private_path)
    for name, text in CONFIGURATION.items():
        (Path("/etc/libvirt") / name).write_text(text)


def start(state: Path) -> subprocess.Popen[bytes]:
    """Start libvirtd and wait until it answers."""
    log = (state / "libvirtd.log").open("wb")
    daemon = subprocess.Popen(
        ["libvirtd"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and daemon.poll() is None:
        answer = subprocess.run(
            ["virsh", "-c", "qemu:///system", "version"], capture_output=True, check=False
        )
        if SOCKET.exists() and answer.returncode == 0:
            return daemon
        time.sleep(0.5)
    lines = (state / "libvirtd.log").read_text(errors="replace").strip().splitlines() or ["no reason given"]
    raise LabError(f"libvirtd did not start: {lines[-1]}")


def step(checkout: Path, state: Path, *arguments: str) -> int:
    """Run one vagrant command; print it and the time that it took."""
    print(f"box: vagrant {shlex.join(arguments)}", file=sys.stderr, flush=True)
    start = time.monotonic()
    variables = {"VAGRANT_DOTFILE_PATH": str(state / "machine"), "VAGRANT_HOME": str(state / "home")}
    status = vagrant(list(arguments), checkout, capture=False, **variables).returncode
    print(f"box: exit status {status} after {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    return status


def steps(checkout: Path, state: Path, commands: list[str]) -> int:
    """Run up, the commands, halt, destroy. Returns the first exit status that was not 0."""
    first = 0
    try:
        first = step(checkout, state, "up", "--provider=libvirt")
        if first == 0:
            for command in commands or [START_TRAFFIC, *COMMANDS]:
                first = first or step(checkout, state, "ssh", "-c", command)
            first = step(checkout, state, "halt") or first
    finally:
        destroyed = step(checkout, state, "destroy", "--force")
    return first or destroyed


def main(checkout: Path, state: Path, commands: list[str]) -> int:
    """Run inside the namespaces."""
    try:
        prepare(state)
        daemon = start(state)
        try:
            return steps(checkout, state, commands)
        finally:
            daemon.terminate()
            with suppress(subprocess.TimeoutExpired):  # it cannot outlive the namespaces
                daemon.wait(30)
    except (LabError, OSError) as error:
        print(f"box: error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]))
