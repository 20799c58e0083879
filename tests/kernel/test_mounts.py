"""Test file systems that are mounted for pytracer alone, invisible to the machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.kernel

# Each test runs in a process of its own, inside a mount namespace that stands for the machine's: pytest's
# own namespace stays as it is, whatever the code under test does. The helper prints what its "machine" has
# mounted before and after, as its parent process sees it.
MACHINE = """
import os, pathlib, sys, traceback
mounts = lambda: sorted(pathlib.Path('/proc/self/mounts').read_text().splitlines())
before = mounts()
child = os.fork()
if child == 0:
    try:
        exec(sys.argv[1])
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)
_, status = os.waitpid(child, 0)
assert mounts() == before, set(mounts()) ^ set(before)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def run_in_private_mounts(code: str, *, propagation: str = "shared", prepare: str = "true") -> None:
    """Run ``code`` in a child of a process whose mounts must not change."""
    script = f'{prepare} && exec "$0" -c "$1" "$2"'
    result = subprocess.run(
        ["unshare", "-m", "--propagation", propagation, "sh", "-c", script, sys.executable, MACHINE, code],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr


BARE = (
    "for p in /sys/kernel/debug/tracing /sys/kernel/debug /sys/kernel/tracing /sys/kernel/security; do"
    " while umount -l $p 2>/dev/null; do :; done; done"
)


@pytest.mark.parametrize("propagation", ["shared", "private", "slave"])
def test_the_machine_stays_as_it_was(propagation: str) -> None:
    code = """
from pytracer.kernel import mounts, policy, tracefs
assert tracefs.root() == tracefs.TRACING
assert mounts.is_mounted(mounts.TRACEFS, tracefs.TRACING)
assert mounts.is_mounted(mounts.TRACEFS, tracefs.OLD_TRACING)
assert policy.read_lsms()
assert mounts.is_mounted(mounts.SECURITYFS, '/sys/kernel/security')
"""
    run_in_private_mounts(code, propagation=propagation, prepare=BARE)


def test_existing_mounts_are_used_without_a_namespace() -> None:
    code = """
import os
from pytracer.kernel import mounts, tracefs
before = os.stat('/proc/self/ns/mnt').st_ino
assert tracefs.root() == tracefs.TRACING
assert not mounts.ensure_mounted(mounts.TRACEFS, tracefs.TRACING)
assert os.stat('/proc/self/ns/mnt').st_ino == before
"""
    prepare = (
        f"{BARE} && mount -t tracefs none /sys/kernel/tracing && mount -t debugfs none /sys/kernel/debug"
        " && ls /sys/kernel/debug/tracing >/dev/null"
    )
    run_in_private_mounts(code, prepare=prepare)


def test_the_mount_namespace_is_created_once() -> None:
    code = """
import os
from pytracer.kernel import mounts
inode = lambda: os.stat('/proc/self/ns/mnt').st_ino
machine = inode()
mounts.enter_private_namespace()
own = inode()
assert own != machine
mounts.enter_private_namespace()
assert mounts.ensure_mounted(mounts.TRACEFS, '/sys/kernel/tracing')
assert not mounts.ensure_mounted(mounts.TRACEFS, '/sys/kernel/tracing')
assert inode() == own
"""
    run_in_private_mounts(code, prepare=BARE)


def test_later_mounts_of_the_machine_still_arrive(tmp_path: Path) -> None:
    code = f"""
import os
from pytracer.kernel import mounts
ready, go = os.pipe(), os.pipe()
child = os.fork()
if child == 0:
    mounts.enter_private_namespace()
    os.write(ready[1], b'x')
    os.read(go[0], 1)
    os._exit(0 if mounts.is_mounted(mounts.TMPFS, {str(tmp_path)!r}) else 1)
os.read(ready[0], 1)
assert os.system('mount -t tmpfs none {tmp_path}') == 0
os.write(go[1], b'x')
_, status = os.waitpid(child, 0)
assert os.system('umount {tmp_path}') == 0
assert status == 0
"""
    run_in_private_mounts(code, prepare="mount -t tmpfs none /mnt")


def test_a_changed_root_is_no_obstacle(tmp_path: Path) -> None:
    """After chroot(2) to a plain folder, the root is no mount point and its propagation cannot be changed."""
    code = f"""
import os
from pytracer.kernel import mounts, policy, tracefs
os.chroot({str(tmp_path)!r})
os.chdir('/')
assert tracefs.has_event('sched', 'sched_switch')
assert mounts.is_mounted(mounts.TRACEFS, tracefs.OLD_TRACING)
"""
    (tmp_path / "proc").mkdir()
    (tmp_path / "sys").mkdir()
    (tmp_path / "a b").mkdir()
    run_in_private_mounts(
        code,
        prepare=f"mount -t proc none {tmp_path}/proc && mount -t sysfs none {tmp_path}/sys"
        f" && mount -t tmpfs none '{tmp_path}/a b'",
    )


def test_bcc_finds_tracefs_where_debugfs_does_not_bring_it() -> None:
    """An empty debugfs simulates a kernel without the automount."""
    code = """
from pytracer.kernel import mounts, tracefs
ensure = mounts.ensure_mounted
mounts.ensure_mounted = lambda kind, path: kind != mounts.DEBUGFS and ensure(kind, path)
assert tracefs.root() == tracefs.TRACING
assert (tracefs.OLD_TRACING / 'events/sched/sched_switch/format').read_text()
"""
    run_in_private_mounts(code, prepare=f"{BARE} && mount -t tmpfs none /sys/kernel/debug")


def test_events_and_their_numbers() -> None:
    code = """
from pytracer.errors import UnsupportedError
from pytracer.kernel import tracefs
assert 'sched:sched_switch' in tracefs.events()
assert tracefs.has_event('sched', 'sched_switch')
assert not tracefs.has_event('sched', 'nonsense')
assert tracefs.event_id('sched', 'sched_switch') > 0
try:
    tracefs.event_id('sched', 'nonsense')
except UnsupportedError as error:
    assert 'sched:nonsense' in error.message and error.hint
else:
    raise AssertionError
"""
    run_in_private_mounts(code)


def test_a_type_the_kernel_lacks_is_unsupported() -> None:
    code = """
import errno
from pytracer.errors import UnsupportedError
from pytracer.kernel import mounts, tracefs
mounts.MAGIC['nonsensefs'] = 1
try:
    mounts.ensure_mounted('nonsensefs', '/sys/kernel/tracing')
except OSError as error:
    assert error.errno == errno.ENODEV
def none(kind, path):
    raise OSError(errno.ENODEV, 'no')
mounts.ensure_mounted = none
try:
    tracefs.root()
except UnsupportedError as error:
    assert error.message == 'this kernel has no tracefs' and error.hint
else:
    raise AssertionError
"""
    run_in_private_mounts(code, prepare=BARE)


def test_without_the_capability_it_is_not_permitted() -> None:
    code = """
import os
inner = '''
from pytracer.errors import NotPermittedError
from pytracer.kernel import tracefs
try:
    tracefs.root()
except NotPermittedError as error:
    assert type(error) is NotPermittedError and 'CAP_SYS_ADMIN' in error.message
else:
    raise AssertionError
'''
without = ['--bounding-set=-sys_admin', '--inh-caps=-sys_admin']
os.execvp('setpriv', ['setpriv', *without, sys.executable, '-c', inner])
"""
    run_in_private_mounts(code, prepare=BARE)
