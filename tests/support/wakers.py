"""Run threads that wake each other, and timers that do, a known number of times."""

from __future__ import annotations

from support.cpu_contention import LAB

ROUNDS = 23
# The parent writes to a pipe that its child reads from, and waits until it sleeps again: each write wakes it
# after 10 ms of sleep. Standard error gets the process ids of both.
PIPES = f"""
import os, time
read, write = os.pipe()
child = os.fork()
if not child:
    open("/proc/self/comm", "w").write("sleeper")
    os.close(write)
    while os.read(read, 1):
        pass
    os._exit(0)
open("/proc/self/comm", "wb").write(b"waker\\n\\x1b[31m")
def let_it_sleep():
    while " S " not in open(f"/proc/{{child}}/stat").read():
        time.sleep(0.001)
    time.sleep(0.01)
for _ in range({ROUNDS}):
    let_it_sleep()
    os.write(write, b"x")
let_it_sleep()
os.write(2, f"{{os.getpid()}} {{child}}\\n".encode())
os.close(write)
os.waitpid(child, 0)
"""
# The first writes to a pipe after each of its sleeps, the second passes that on to the third.
CHAIN = f"""
import os, time
first, second = os.pipe(), os.pipe()
def become(name, source, target, *unused):
    if os.fork():
        return
    open("/proc/self/comm", "w").write(name)
    for descriptor in unused:
        os.close(descriptor)
    while data := os.read(source, 1):
        if target is not None:
            os.write(target, data)
    os._exit(0)
become("second", first[0], second[1], first[1], second[0])
become("third", second[0], None, *first, second[1])
open("/proc/self/comm", "w").write("first")
os.close(second[1])
for _ in range({ROUNDS}):
    time.sleep(0.03)
    os.write(first[1], b"x")
time.sleep(0.03)
os.close(first[1])
os.wait(), os.wait()
"""
TIMERS = f"import time\nfor _ in range({ROUNDS}): time.sleep(0.01)"


def is_count(count: int, expected: int) -> bool:
    """Return True if the number matches: all in the lab, all but a few on a host.

    There a policy may keep programs from running while some of its own tasks are current.
    """
    return count == expected if LAB else expected - 3 <= count <= expected
