"""An example run of each tracer, for lab/guest/tracer_examples.py: its arguments, and what it then sees.

``command`` is what pytracer runs and follows; ``beside`` runs while pytracer traces the machine. Both are
lines of shell, in a folder with the files that PREPARE makes.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Example:
    """One run; ``arguments`` stand behind the tracer's name, ``setup`` is shell that runs before."""

    arguments: str = ""
    command: str = ""
    beside: str = ""
    setup: str = ""


PREPARE = r"""
modprobe loop; modprobe dummy numdummies=0
truncate -s 256M disk.img; mkfs.ext4 -q disk.img; mkdir data; mount -o loop disk.img data
dd if=/dev/urandom of=data/big bs=1M count=48 status=none; cp /etc/services data/file; sync
echo 3 >/proc/sys/vm/drop_caches
echo 'nameserver 127.0.0.1' >/etc/resolv.conf; echo 'hosts: files dns' >/etc/nsswitch.conf
openssl req -x509 -newkey rsa:2048 -nodes -keyout key -out certificate -days 9 -subj /CN=localhost 2>/dev/null
ip link add dummy0 type dummy; ip addr add 192.0.2.1/24 dev dummy0; ip link set dummy0 up
tc qdisc add dev lo root pfifo limit 100
"""
SERVERS = r"""
import http.server, os, socket, ssl, threading
def names():
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 53))
    while True:
        question, peer = server.recvfrom(512)
        server.sendto(question[:2] + bytes([0x81, 0x83]) + question[4:], peer)
class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *words): pass
def web(port, wrap=lambda s: s):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Quiet)
    server.socket = wrap(server.socket)
    server.serve_forever()
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("certificate", "key")
threading.Thread(target=names).start()
threading.Thread(target=web, args=(8443, lambda s: context.wrap_socket(s, server_side=True))).start()
web(8000)
"""
"""A name server that knows no names, and web servers for the folder: one plain, one by TLS."""

SCRIPTS = {
    "locks.py": "test_futexstat.WORKLOAD",
    "machine.py": "test_kvmexit.MACHINE",
    "collapse.py": "test_thpsnoop.CODE",
    "moves.py": "test_numamove.WORKLOAD",
}
"""Workloads of tests, by the file that they are written to."""

DIRECT = "dd if=/dev/zero of=data/direct bs=64k count=32 oflag=direct"
QUERIES = """python3 -c 'import sqlite3; sqlite3.connect(":memory:").execute("select 1").fetchall()'"""
CURL = "curl -s -o copy http://127.0.0.1:8000/data/file"
COPY = "cp data/big data/copy"
LIST = "ls -R /etc/ssl"
IN_CGROUP = "echo $$ >$CGROUP/cgroup.procs"

EXAMPLES: dict[str, Example] = {
    "argdist": Example("-C 't:syscalls:sys_enter_read():int:args->fd'", "cat /etc/hosts /etc/services"),
    "bashreadline": Example(
        beside="printf 'echo hello\\necho world\\nexit\\n' | script -qc 'bash --norc -i' /dev/null"
    ),
    "bindsnoop": Example("", "timeout 3 python3 -m http.server 8081"),
    "biolatency": Example("4 1", beside=DIRECT),
    "biopattern": Example("", DIRECT),
    "biosnoop": Example("", f"{DIRECT} count=7"),
    "biostacks": Example("--top 1", DIRECT),
    "biotop": Example("", DIRECT),
    "bitesize": Example("", DIRECT),
    "cachestat": Example("", "sum data/file data/file", setup="echo 3 >/proc/sys/vm/drop_caches"),
    "cachetop": Example("", "sum data/file data/file", setup="echo 3 >/proc/sys/vm/drop_caches"),
    "capable": Example("", "chown 12345 data/file"),
    "cgroupcount": Example("4 1", beside=CURL),
    "compactsnoop": Example("", "sysctl -q vm.compact_memory=1"),
    "cpudist": Example("", LIST),
    "dbslower": Example("--min 0", QUERIES),
    "dbstat": Example("--by query", QUERIES),
    "dcstat": Example("", LIST),
    "dnssnoop": Example("", "getent hosts example.org"),
    "dropsnoop": Example("", "bash -c 'echo lost >/dev/udp/127.0.0.1/9'"),
    "drsnoop": Example("", f"sh -c '{IN_CGROUP}; cat data/big >/dev/null'"),
    "execsnoop": Example("", "sh -c 'true; ls /; uname -a | cat'"),
    "exitsnoop": Example("", "sh -c 'ls /nowhere; (kill -9 $BASHPID); sleep 0.1'"),
    "fanoutcount": Example("lo -n 2 4 1", beside=CURL),
    "filelife": Example("", "sh -c 'echo text >data/brief; sleep 0.1; rm data/brief'"),
    "filetop": Example("", COPY),
    "forksnoop": Example("", "sh -c 'ls | cat'"),
    "fsdist": Example("", COPY),
    "fsslower": Example("--min 2ms", COPY),
    "funccount": Example("'vfs_*'", LIST),
    "funclatency": Example("vfs_read", COPY),
    "funcslower": Example("vfs_fsync_range --min 0", "dd if=/etc/services of=data/other conv=fsync"),
    "futexstat": Example("", "python3 locks.py"),
    "gethostlatency": Example("", "getent ahosts localhost"),
    "hardirqs": Example("4 1", beside=DIRECT),
    "httpsnoop": Example("", f"{CURL} http://127.0.0.1:8000/nowhere"),
    "inject": Example("security_inode_mkdir EACCES --times 2", "mkdir data/a data/b data/c"),
    "iouring": Example("", "$RINGS nops 23"),
    "klockstat": Example("--top 2", "sh -c 'find /proc/self/task /sys/kernel/slab >/dev/null | cat'"),
    "kmemleak": Example("--pages --top 1", "python3 -c 'bytearray(1 << 23)'"),
    "kvmexit": Example("", "python3 machine.py", setup="modprobe kvm_amd"),
    "langalloc": Example("", "ruby --disable-gems -e '23.times { Object.new }'"),
    "langcalls": Example("", "python3 -S -I -c 'sum(n for n in range(23))'"),
    "langflow": Example("--depth 3", "python3 -S -I -c 'sum(n for n in range(3))'"),
    "langgc": Example("", "python3 -S -c 'import gc; gc.collect()'"),
    "langstat": Example("", "python3 -S -c 'import gc; gc.collect()'"),
    "latency": Example(
        "t:syscalls:sys_enter_read t:syscalls:sys_exit_read --by 'args->fd'", "cat /etc/hosts"
    ),
    "memleak": Example("--top 1", "ls"),
    "modulesnoop": Example("", "sh -c 'modprobe ifb numifbs=0; modprobe -r ifb'"),
    "mountsnoop": Example("", "sh -c 'mkdir -p m; mount -t tmpfs none m; umount m'"),
    "mutexstat": Example("--min 20ms --top 2", "$MUTEXES 3"),
    "numamove": Example("", "python3 moves.py 1 0 1"),
    "offcputime": Example("--top 1", "sleep 0.2"),
    "offwaketime": Example("--top 1", "sleep 0.2"),
    "oomkill": Example("", f"sh -c '{IN_CGROUP}; tail /dev/zero'"),
    "openfiles": Example("--comm sleep", setup="sleep 60 <data/file &"),
    "opensnoop": Example("", "cat /etc/hosts nowhere"),
    "packetsnoop": Example("lo -d 4", beside=CURL),
    "profile": Example("--top 1", "python3 -c 'sum(range(10**6))'"),
    "qdisclat": Example("4 1", beside=CURL),
    "readahead": Example("", "sum data/file", setup="echo 3 >/proc/sys/vm/drop_caches"),
    "runqlat": Example("", LIST),
    "runqlen": Example("2 1", beside=LIST),
    "runqslower": Example("--min 10us", "sh -c 'ls | cat'"),
    "schedsnoop": Example("", "sh -c 'ls | cat'"),
    "setids": Example("", "su -s /bin/true www-data"),
    "sigsnoop": Example("", "sh -c 'sleep 9 & kill $!; wait'"),
    "slabratetop": Example("--top 8", LIST),
    "sockcount": Example("lo 4 1", beside=CURL),
    "socksnoop": Example("", CURL),
    "softirqs": Example("4 1", beside=CURL),
    "sslsniff": Example("--size 64", "curl -sk https://127.0.0.1:8443/key -o /dev/null"),
    "stackcount": Example("-U --top 1 u:libc:malloc", "ls"),
    "statsnoop": Example("", "ls -l data"),
    "syncsnoop": Example("", "sync data/file"),
    "syscalls": Example("--top 8", "ls"),
    "tasks": Example("-p 1"),
    "tccount": Example("lo 4 1", beside=CURL),
    "tcpconnlat": Example("", CURL),
    "tcplife": Example("", CURL),
    "tcpretrans": Example("", "curl -s -m 4 http://192.0.2.9/"),
    "tcprtt": Example("", CURL),
    "tcpstates": Example("", CURL),
    "tcpsynbl": Example("4 1", beside=CURL),
    "tcptop": Example("", CURL),
    "tcptracer": Example("", CURL),
    "thpsnoop": Example("", "python3 collapse.py"),
    "top": Example("", COPY),
    "trace": Example("""'t:syscalls:sys_enter_openat "%s", args->filename'""", "cat /etc/hosts"),
    "vfsstat": Example("", LIST),
    "wakeuptime": Example("--top 1", "sh -c 'sleep 0.1 | cat'"),
    "why": Example("", "tar czf copy.tar.gz data/big"),
    "wqlat": Example("2 1 --top 8", beside=DIRECT),
    "writeback": Example("-d 4", beside="sync data/file; sync"),
    "xdpcount": Example("lo --mode generic 4 1", beside=CURL),
}
