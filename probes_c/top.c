// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Measure the resources that threads use: CPUs, waits for them, sleep, faults, I/O, system calls.
//
// A thread is read when it leaves its CPU, and by samples while it runs: a row gets the increase since the last
// reading.
#include "sched.h"

static int on_enter(u32 nr);
static int on_leave(u32 nr, long ret);
#include "syscall.h"

#include "socket_bytes.h"
#include "task_counters.h"
#include "task_rows.h"
#include <net/sock.h>

#define PT_AF_INET  2
#define PT_AF_INET6 10

struct row_key {
    PT_TASK_KEY;
};

struct row_value {
    u64 cpu_ns;
    u64 queued_ns;
    u64 blocked_ns;
    u64 calls;
    u64 minor_faults;
    u64 major_faults;
    u64 read_bytes;
    u64 written_bytes;
    u64 tx_bytes;
    u64 rx_bytes;
    PT_TASK_NAME;
};
#include "rows.h"

// Add what a thread has used since the last reading to its row.
static __always_inline void account(struct task_struct *task, struct pt_thread *thread)
{
    struct pt_counters now = {};
    struct row_value *row;
    struct row_key key;
    u64 queued;

    __builtin_memset(&key, 0, sizeof(key));
    pt_fill_task_key_of(&key, task);
    row = pt_row(&key);
    if (!row) // the next row gets it
        return;
    pt_read_counters(task, &now);
    queued = now.queued_ns - thread->last.queued_ns;
    if (thread->away_ns > queued) // it slept, was woken, and waited for a CPU
        row->blocked_ns += thread->away_ns - queued;
    thread->away_ns = 0;
    row->cpu_ns += now.cpu_ns - thread->last.cpu_ns;
    row->queued_ns += queued;
    row->minor_faults += now.minor_faults - thread->last.minor_faults;
    row->major_faults += now.major_faults - thread->last.major_faults;
    row->read_bytes += now.read_bytes - thread->last.read_bytes;
    row->written_bytes += now.written_bytes - thread->last.written_bytes;
    thread->last = now;
    row->calls += thread->counted.calls - thread->added.calls;
    row->tx_bytes += thread->counted.tx_bytes - thread->added.tx_bytes;
    row->rx_bytes += thread->counted.rx_bytes - thread->added.rx_bytes;
    thread->added = thread->counted;
    pt_fill_task_name_of(row, task);
}

// A thread that runs for long is read in between.
int sample(void *ctx)
{
    struct task_struct *task = pt_current();
    u64 key = (u64)task;
    struct pt_thread *thread = pt_threads.lookup(&key);

    if (thread && pt_is_traced(task))
        account(task, thread);
    return PT_PASS;
}

static int on_enter(u32 nr)
{
    struct pt_thread *thread = pt_thread();

    if (thread)
        __sync_fetch_and_add(&thread->counted.calls, 1);
    return PT_PASS;
}

static int on_leave(u32 nr, long ret)
{
    return PT_PASS;
}

static int on_bytes(struct sock *sk, s64 sent, s64 received)
{
    u16 family = pt_read(sk->__sk_common.skc_family);
    struct pt_thread *thread;

    if (family != PT_AF_INET && family != PT_AF_INET6)
        return PT_PASS;
    thread = pt_thread();
    if (thread && sent > 0)
        __sync_fetch_and_add(&thread->counted.tx_bytes, sent);
    if (thread && received > 0)
        __sync_fetch_and_add(&thread->counted.rx_bytes, received);
    return PT_PASS;
}
