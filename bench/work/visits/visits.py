# SPDX-License-Identifier: Apache-2.0
"""Work of a known size in Python, for scripts/services; its twins do the same in other languages.

It answers lines on the port that it is given, from one client after the other:

    visit   calls visit() once, which calls render() ten times; each 100th time it collects garbage
    stat    says how often it called render(), and how many collections there were

No collection happens but in visit(), so that those of what asks are none.
"""

import gc
import socket
import sys

visits = calls = 0


class Item:
    def __init__(self, number: int) -> None:
        self.number = number
        self.itself = self  # garbage that only a collection finds


def render(number: int) -> tuple[str, Item]:
    global calls
    calls += 1
    return " ".join(map(str, sorted([k * 7919 % (101 + number) for k in range(60)]))), Item(number)


def visit() -> None:
    global visits
    gc.enable()
    for number in range(10):
        render(number)
    visits += 1
    if visits % 100 == 0:
        gc.collect()
    gc.disable()


def stat() -> str:
    return f"calls {calls} collections {sum(one['collections'] for one in gc.get_stats())}"


gc.disable()
with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as server:
    while True:
        client, _ = server.accept()
        with client, client.makefile("rw") as lines:
            for line in lines:
                if line == "stat\n":
                    lines.write(stat() + "\n")
                else:
                    visit()
                    lines.write("ok\n")
                lines.flush()
