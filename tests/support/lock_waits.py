"""A workload that waits for a lock of the kernel for 50 ms, a known number of times: the mutex of a pipe, the
rwsem of a file, as its argument says."""

from __future__ import annotations

ROUNDS = 7
WORKLOAD = f"""
import ctypes, fcntl, json, mmap, os, struct, sys, tempfile, threading, time
libc = ctypes.CDLL(None, use_errno=True)
uffd = libc.syscall(323, 0)
assert uffd >= 0, ctypes.get_errno()
api = bytearray(struct.pack("QQQ", 0xAA, 0, 0))
fcntl.ioctl(uffd, 0xC018AA3F, api)                             # UFFDIO_API
rounds = {ROUNDS}
memory = mmap.mmap(-1, 4096 * rounds)
start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
register = bytearray(struct.pack("QQQQ", start, 4096 * rounds, 1, 0))
fcntl.ioctl(uffd, 0xC020AA00, register)                        # UFFDIO_REGISTER
read, write = os.pipe()
file = tempfile.TemporaryFile(dir="/dev/shm")
use = dict(pipe=lambda: os.read(read, 4096), file=lambda: os.pwrite(file.fileno(), b"x", 0))[sys.argv[1]]
target = dict(pipe=write, file=file.fileno())[sys.argv[1]]
source = ctypes.create_string_buffer(4096)
times = dict(waits=[], holds=[], pid=os.getpid())
def timed(which, name, call, *words):
    libc.prctl(15, name)                                       # PR_SET_NAME
    begun = time.monotonic_ns()
    call(*words)
    times[which].append(time.monotonic_ns() - begun)
for number in range(rounds):
    page = start + 4096 * number
    words = target, ctypes.c_void_p(page), ctypes.c_size_t(4096)
    writer = threading.Thread(target=timed, args=("holds", b"holds\\x1b", libc.write, *words))
    writer.start()
    os.read(uffd, 32)                                          # the fault, under the lock
    reader = threading.Thread(target=timed, args=("waits", b"waits", use))
    reader.start()
    while " D " not in open(f"/proc/self/task/{{reader.native_id}}/stat").read():
        time.sleep(0.001)
    time.sleep(0.05)
    copy = struct.pack("QQQQq", page, ctypes.addressof(source), 4096, 0, 0)
    fcntl.ioctl(uffd, 0xC028AA03, bytearray(copy))             # UFFDIO_COPY
    writer.join()
    reader.join()
os.write(2, json.dumps(times).encode() + b"\\n")
"""
