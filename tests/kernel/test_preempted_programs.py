"""Test programs of user probes that another task could run on their CPU before they have ended."""

from __future__ import annotations

import json

import pytest

from support.cli import run
from support.compilers import compile_files

pytestmark = pytest.mark.kernel

CALLS = 20_000
TURNS = """
#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

__attribute__((noipa)) void work(long a, long b, long c, long d, long e, long f) { __asm__ volatile("nop"); }

/* Two processes on one CPU: one works all the time, the other interrupts it every 200 us. */
int main(int argc, char **argv)
{
    struct sched_param first = {.sched_priority = 1};
    cpu_set_t cpu;
    long interrupts = 0;

    CPU_ZERO(&cpu);
    CPU_SET(0, &cpu);
    if (sched_setaffinity(0, sizeof(cpu), &cpu))
        return 1;
    if (!fork()) {
        for (int i = 0; i < atoi(argv[1]); i++)
            work(1, 1, 1, 1, 1, 1);
        return 0;
    }
    if (sched_setscheduler(0, SCHED_FIFO, &first))
        return 1;
    for (; !waitpid(-1, 0, WNOHANG); interrupts++) {
        work(2, 2, 2, 2, 2, 2);
        usleep(200);
    }
    fprintf(fopen(argv[2], "w"), "%ld", interrupts);
    return 0;
}
"""


@pytest.mark.lab
@pytest.mark.smoke
def test_a_program_has_its_stack_and_counters_for_itself(tmp_path):
    file, written = compile_files(tmp_path, {"turns.c": TURNS}), tmp_path / "interrupts"
    arguments = ", ".join(f"arg{number}" for number in range(6))
    script = f"uprobe:{file}:work {{ @[{arguments}] = count(); }}"
    result = run("script", "-f", "json", "-e", script, "-c", f"{file} {CALLS} {written}")
    assert result.status == 0, result.err
    [record] = [record for line in result.out.splitlines() if (record := json.loads(line))["type"] == "map"]
    assert record["data"]["@"] == {
        "1,1,1,1,1,1": CALLS,
        "2,2,2,2,2,2": int(written.read_text()),
    }
