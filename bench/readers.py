"""Read a flood of events in a process of its own: ``python -m bench.readers READER EVENTS``.

READER is ``pytracer`` (pytracer.Trace), ``bcc-ring`` or ``bcc-perf`` (BCC's callbacks, a Python call for each
event). Prints one JSON object: events made, delivered, seconds that the work took, CPU seconds of this
process.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import sys
import time
from pathlib import Path

from bench.work import flood, gated, go
from pytracer.bpf.compile.headers import find_headers
from pytracer.bpf.toolchain import import_bcc
from pytracer.features.kernel_facts import RunningKernel
from pytracer.model import Batch
from pytracer.request import Request
from pytracer.spec import Alternative, Column, Filter, Hook, RawTracepoint, Stream, Tracer
from pytracer.trace.loop import TraceLoop

RING = 16 << 20  # bytes, the same for all

TRACER = Tracer(
    name="events",
    group="bench",
    summary="every system call of a process",
    description="",
    hooks=(
        Hook(
            "syscall",
            "system calls begin",
            (Alternative("raw-tracepoint", (RawTracepoint("enter", event="sys_enter"),)),),
        ),
    ),
    filters=(Filter.PID,),
    outputs=(Stream(columns=(Column("call", "its number"), Column("pid", "process id"))),),
    source=str(Path(__file__).parent / "work/events.c"),
)

BCC = """
struct event { u64 ns; u64 call; u64 argument; u64 spare; u32 pid; u32 cpu; };
BPF_ARRAY(only, u32, 1);
BPF_ARRAY(lost, u64, 1);
#ifdef RING
BPF_RINGBUF_OUTPUT(events, PAGES);
#else
BPF_PERF_OUTPUT(events);
#endif

RAW_TRACEPOINT_PROBE(sys_enter)
{
    u32 pid = bpf_get_current_pid_tgid() >> 32;
    int zero = 0;
    u32 *wanted = only.lookup(&zero);

    if (!wanted || *wanted != pid)
        return 0;
    struct event event = {};
    event.ns = bpf_ktime_get_ns();
    event.call = ctx->args[1];
    event.pid = pid;
    event.cpu = bpf_get_smp_processor_id();
#ifdef RING
    events.ringbuf_output(&event, sizeof(event), 0);
#else
    events.perf_submit(ctx, &event, sizeof(event));
#endif
    return 0;
}
"""


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _report(events: int, delivered: int, start: float, cpu: float) -> None:
    report = {"made": events, "delivered": delivered, "seconds": start, "cpu": cpu}
    print(json.dumps(report))


def read_by_pytracer(events: int) -> None:
    """Read pytracer's own stream and add up the calls of all events."""
    delivered = calls = 0
    with gated(flood(), "gated", "calls", str(events)) as work:
        key = work.pid.to_bytes(4, sys.byteorder)
        request = Request(TRACER, filters={Filter.PID: (key,)}, buffer=RING)
        with TraceLoop(request, RunningKernel) as trace:
            cpu, start = _cpu(), time.monotonic()
            go(work)
            for item in trace:
                if isinstance(item, Batch):
                    delivered += len(item)
                    calls += int(item.records["call"].sum())
        _report(events, delivered, time.monotonic() - start, _cpu() - cpu)


def read_by_bcc(events: int, reader: str) -> None:
    """Read by BCC's callbacks. As in ``read_by_pytracer``, the call number of each event is added up."""
    os.environ["BCC_KERNEL_SOURCE"] = str(find_headers(BCC).path)
    module = import_bcc()
    flags = ["-DRING", f"-DPAGES={RING // os.sysconf('SC_PAGE_SIZE')}"] if reader == "bcc-ring" else []
    program = module.BPF(text=BCC.encode(), cflags=flags)
    delivered = calls = 0

    def ring(_context: object, data: object, _size: int) -> None:
        nonlocal delivered, calls
        delivered += 1
        calls += program[b"events"].event(data).call

    def perf(_cpu: int, data: object, _size: int) -> None:
        ring(None, data, 0)

    with gated(flood(), "gated", "calls", str(events)) as work:
        program[b"only"][ctypes.c_int(0)] = ctypes.c_uint(work.pid)
        if reader == "bcc-ring":
            program[b"events"].open_ring_buffer(ring)
            poll = program.ring_buffer_poll
        else:
            pages = RING // (os.cpu_count() or 1) // os.sysconf("SC_PAGE_SIZE")
            program[b"events"].open_perf_buffer(perf, page_cnt=pages)
            poll = program.perf_buffer_poll
        cpu, start = _cpu(), time.monotonic()
        go(work)
        while work.poll() is None:
            poll(10)
        poll(10)
        _report(events, delivered, time.monotonic() - start, _cpu() - cpu)


def main() -> None:
    """Run the reader named on the command line."""
    reader, events = sys.argv[1], int(sys.argv[2])
    if reader == "pytracer":
        read_by_pytracer(events)
    else:
        read_by_bcc(events, reader)


if __name__ == "__main__":
    main()
