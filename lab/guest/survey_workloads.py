"""What runs while lab/guest/survey.py tries a tracer, so that there is something to see."""

from __future__ import annotations

import sys

PYTHON = [sys.executable, "-S", "-I"]
WORKLOAD = r"""
import _thread, gc, os, socket, sys, time
lock = _thread.allocate_lock()
lock.acquire()
names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
path = f"/tmp/workload-{os.getpid()}"
server = socket.create_server(("127.0.0.1", 0))
until = time.monotonic() + float(sys.argv[1])
while True:
    client = socket.create_connection(server.getsockname())
    peer, _ = server.accept()
    client.sendall(b"GET / HTTP/1.1\r\n\r\n"); peer.recv(1000)
    peer.sendall(b"HTTP/1.1 204 No Content\r\n\r\n"); client.recv(1000)
    client.close(); peer.close()
    names.sendto(b"\0\1\1\0\0\1\0\0\0\0\0\0\7example\3org\0\0\1\0\1", ("127.0.0.1", 53))
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    os.write(file, bytes(4096)); os.fsync(file); os.close(file); os.unlink(path)
    for device in sys.argv[3:]:
        disk = os.open(device, os.O_RDWR | os.O_SYNC)
        os.write(disk, bytes(4096)); os.close(disk)
    os.setgid(os.getgid())
    try:
        os.nice(0)
    except PermissionError:
        pass
    lock.acquire(timeout=0.001)
    for _ in range(23):
        os.getppid()
    gc.collect()
    os.waitpid(os.posix_spawn("/bin/sh", ["sh", "-c", sys.argv[2]], os.environ), 0)
    if time.monotonic() > until:
        break
"""
"""A bit of everything: a connection with a request, a question that finds nobody, a file, a block device, a
group, a lock, system calls, a process, which runs the lines of shell that it is given."""
OUT_OF_MEMORY = """cd /sys/fs/cgroup; echo +memory >cgroup.subtree_control; mkdir oom$$
    echo 8M >oom$$/memory.max; echo 0 >oom$$/memory.swap.max
    sh -c "echo \\$\\$ >oom$$/cgroup.procs; exec tail /dev/zero"; rmdir oom$$"""
"""Lines of shell: a cgroup reaches its limit, where the kernel first reclaims and then kills."""
QUERY = f"""{sys.executable} -c 'import sqlite3; sqlite3.connect(":memory:").execute("create table t (a)")'"""
EXTRA_WORK = {
    "bashreadline": "echo exit | script -qc 'bash --norc -i' /dev/null",
    "compactsnoop": "echo 1 >/proc/sys/vm/compact_memory",
    "dbslower": QUERY,
    "dbstat": QUERY,
    "drsnoop": OUT_OF_MEMORY,
    "dropsnoop": """modprobe dummy numdummies=0; ip link add dummy1 type dummy
        ip addr add 198.51.100.1/24 dev dummy1; ip link set dummy1 up
        tc qdisc replace dev dummy1 root blackhole; bash -c 'echo >/dev/udp/198.51.100.9/9'""",
    "iouring": "$RINGS nops 23",
    "klockstat": "find /proc/self/task /sys/kernel/slab | cat",
    "modulesnoop": "modprobe ifb numifbs=0; modprobe -r ifb",
    "mountsnoop": "mkdir /tmp/m$$; mount -t tmpfs none /tmp/m$$; umount /tmp/m$$",
    "oomkill": OUT_OF_MEMORY,
    "qdisclat": """ip link add dummy2 type dummy; ip addr add 203.0.113.1/24 dev dummy2; ip link set dummy2 up
        tc qdisc replace dev dummy2 root tbf rate 1mbit burst 2000 limit 9000
        bash -c 'echo >/dev/udp/203.0.113.9/9'""",
    "readahead": "echo 3 >/proc/sys/vm/drop_caches; sum /dev/loop0",
    "tcpretrans": """modprobe dummy numdummies=0; ip link add dummy0 type dummy
        ip addr add 192.0.2.1/24 dev dummy0; ip link set dummy0 up
        timeout 5 bash -c 'exec 3<>/dev/tcp/192.0.2.9/80'""",
    "writeback": "echo >/dev/loop0; sync",
}
"""Lines of shell for tracers of what the workload does not do."""
COMMANDS = {"langalloc": ["ruby", "--disable-gems", "-e", "23.times { Object.new }"]}
"""What runs instead of the workload: CPython has no probes for objects."""
