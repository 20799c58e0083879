"""Changes of the kernel that decide between the alternatives of a hook, or whether something can be shown."""

from __future__ import annotations

from pytracer.features.table.feature import BTF, Feature


def _make_change(
    name: str,
    since: str = "",
    commit: str = "",
    *options: str,
    until: str = "",
    machines: tuple[str, ...] = (),
) -> Feature:
    return Feature("change", name, since, commit, options, until=until, machines=machines)


# What programs may do.
KERNEL_BTF = _make_change("BTF of the kernel", "5.2", "e83b9f55448a", BTF)
LOOPS = _make_change("loops that the verifier accepts", "5.3", "2589726d12a1")
RUN_COUNTS = _make_change("run counts of programs", "5.1", "492ecee892c2")
COOKIES = _make_change("cookies of perf events", "5.15", "82e6b1eee6a8")
ITERATOR_PATHS = _make_change("paths for iterators", "5.12", "3d06f34aa89e")
TASK_STORAGE_ANYWHERE = _make_change("task storage for programs on tracepoints", "5.12", "a10787e6d58c")
WHOLE_RETURN_STACKS = _make_change("stacks of kretprobes", "5.16", "19138af1bd88")  # x86; elsewhere its like
ALL_THREADS = _make_change(
    "uprobe.multi for all threads of a process", "6.10", "46ba0e49b642", "UPROBE_EVENTS"
)
TRAFFIC_CONTROL = _make_change("programs in traffic control", "4.1", "96be4325f443")
TUN = _make_change("tun", "", "", "TUN")
# Before, the event came behind exit_mm().
ARGUMENTS_AT_EXIT = _make_change("memory of a process that exits", "6.16", "3e816361e94a")

# x86's functions that system calls pass. From the mitigation of Branch History Injection on (in 6.9, and back
# to 6.1) a function dispatches them, which is notrace from 7.0 on. The one that all exits share is inlined
# then.
DISPATCHER = _make_change(
    "dispatcher of system calls",
    "6.1",
    "1e3ad78334a6",
    "KPROBE_EVENTS",
    until="7.0",
    machines=("x86_64",),
)
SHARED_EXIT = _make_change(
    "function of all exits of system calls", "5.9", "a9f3a74a29af", until="7.0", machines=("x86_64",)
)
X86 = _make_change("the system call functions of x86", machines=("x86_64",))

# Events, and what they tell.
# a54895fa057c took it away in 5.11; so did 5.10.137.
REQUEST_BEHIND_QUEUE = _make_change(
    "block events with the queue before the request", "4.17", "", "BLOCK", until="5.10"
)
REQUEST_WITHOUT_QUEUE = _make_change("block events with the request first", "5.11", "a54895fa057c", "BLOCK")
BLOCK_IO_EVENTS = _make_change("block_io_start", "6.5", "5a80bd075f3b", "BLOCK")
BIO_WITHOUT_QUEUE = _make_change("block events with the bio first", "5.11", "e8a676d61c07", "BLOCK")
BIO_BEHIND_QUEUE = _make_change("block events with the queue first", "4.17", "", "BLOCK", until="5.11")
TASK_STATE = _make_change("task_struct.__state", "5.14", "2f064a59a11f")
OLD_TASK_STATE = _make_change("task_struct.state", until="5.14")
SOCKET_BYTES = _make_change("sock_send_length", "6.3", "6e6eda44b939", "NET")
DROP_SOCKET = _make_change("kfree_skb with the socket", "6.11", "c53795d48ee8", "NET")
DROP_REASON = _make_change("kfree_skb with the reason", "5.17", "c504e5c2f964", "NET")
QDISC_ENQUEUE = _make_change("qdisc_enqueue", "5.14", "70713dddf3d2", "NET")
# Before, kernel/events was built without ftrace.
TRACEABLE_PERF = _make_change("functions of kernel/events/core.c", "5.16", "79df45731da6")
MMAP_LOCK_EVENTS = _make_change("mmap_lock events", "5.11", "2b5067a8143e", "TRACEPOINTS")
MMAP_LOCK_PATHS = _make_change(
    "mmap_lock events with the path of a cgroup", "5.11", "2b5067a8143e", until="6.14"
)
CAPABLE_EVENT = _make_change("cap_capable", "6.14", "d48da4d5ed7b", "TRACEPOINTS")
OOM_VICTIM = _make_change("mark_victim with the task", "6.9", "72ba14deb40a", "TRACEPOINTS")
CONTENTION = _make_change("contention_begin", "5.19", "16edd9b511a1", "TRACEPOINTS")
DIRTY_FOLIO = _make_change("writeback_dirty_folio", "5.16", "b9b0ff61eef5", "TRACEPOINTS")
DIRTY_PAGE = _make_change("writeback_dirty_page", "3.9", "9fb0a7da0c52", "TRACEPOINTS", until="5.16")
SLAB_CACHE = _make_change("kmem_cache_alloc with the cache", "5.19", "b347aa7b5747", "TRACEPOINTS")
SLAB_ON_NODES = _make_change(
    "kmalloc_node, an event", "2.6.37", "", "TRACEPOINTS", until="6.1"
)  # 11e9734bcb6a
RING_REQUEST = _make_change("io_uring_submit_req", "6.4", "2ad57931db64", "IO_URING")  # which was renamed
RING_SQE = _make_change("io_uring_submit_sqe", "5.5", "c826bd7a743f", "IO_URING", until="6.4")
RING_REQUESTS_IN_EVENTS = _make_change(
    "requests in the events of io_uring", "5.18", "502c87d65564", "IO_URING"
)
RING_MULTISHOT_POLLS = _make_change("multishot polls of io_uring", "5.13", "88e41cf928a6", "IO_URING")
RING_SKIPPED = _make_change("skipped completions of io_uring", "5.17", "04c76b41ca97", "IO_URING")
RING_SOCKETS = _make_change("sockets of io_uring", "6.11", "7481fd93fa0a", "IO_URING")
MADV_COLLAPSE = _make_change("MADV_COLLAPSE", "6.1", "7d8faaf15545", "TRANSPARENT_HUGEPAGE")
COLLAPSE_EVENTS_OF_FILES = _make_change(
    "mm_khugepaged_collapse_file", "6.2", "4c9473e87e75", "TRANSPARENT_HUGEPAGE"
)
