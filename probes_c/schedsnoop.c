// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Show each turn of a thread on a CPU: how long it slept, waited and ran, and which task woke it.
#include "config.h"
#include "interrupt.h"
#include "loss.h"
#include "sched.h"

#define UNKNOWN      (-1)
#define TASK_IS_DEAD 0x80 // an exited task does not return to a CPU

// When each task slept, woke and ran; 0: unknown, or not yet. The key is the task's address: a thread id changes in an
// exec.
struct turn {
    u64 asleep;
    u64 queued; // woken, or preempted
    u64 running;
    u32 waker_pid;
    u32 waker_tid;
    char waker_comm[PT_COMM_LEN];
};
BPF_HASH(turns, u64, struct turn, 65536);

struct event {
    u64 ns;
    s64 slept_ns;
    s64 wait_ns;
    u64 ran_ns;
    u32 pid;
    u32 tid;
    u32 cpu;
    u32 preempted;
    u32 waker_pid;
    u32 waker_tid;
    char comm[PT_COMM_LEN];
    char waker_comm[PT_COMM_LEN];
};
#include "stream.h"

// sched_waking(task), in the task or interrupt that wakes it. The sleep of a task that is still leaving another CPU was
// not seen yet: that turn has no times before it.
int waking(struct bpf_raw_tracepoint_args *ctx)
{
    struct task_struct *task = (struct task_struct *)ctx->args[0];
    u64 key = (u64)task, waker = bpf_get_current_pid_tgid();
    struct turn *turn = turns.lookup(&key);

    if (!turn || !turn->asleep || turn->queued)
        return PT_PASS;
    turn->queued = bpf_ktime_get_ns();
    if (pt_is_in_interrupt(ctx))
        return PT_PASS;
    turn->waker_pid = waker >> 32;
    turn->waker_tid = waker;
    bpf_get_current_comm(&turn->waker_comm, sizeof(turn->waker_comm));
    return PT_PASS;
}

static __always_inline void show(void *ctx, struct task_struct *task, struct turn *turn, u64 now,
                                 int preempted)
{
    struct event *event = pt_reserve();

    if (!event)
        return;
    event->ns = now;
    event->slept_ns = turn->asleep && turn->queued ? turn->queued - turn->asleep : UNKNOWN;
    event->wait_ns = turn->queued ? turn->running - turn->queued : UNKNOWN;
    event->ran_ns = now - turn->running;
    event->pid = pt_read(task->tgid);
    event->tid = pt_read(task->pid);
    event->cpu = bpf_get_smp_processor_id();
    event->preempted = preempted;
    event->waker_pid = turn->waker_pid;
    event->waker_tid = turn->waker_tid;
    pt_probe_read_kernel(&event->comm, sizeof(event->comm), &task->comm);
    __builtin_memcpy(event->waker_comm, turn->waker_comm, sizeof(event->waker_comm));
    pt_submit(ctx, event);
}

// The current task leaves its CPU: its turn ends, if its beginning was seen.
static __always_inline void leave(void *ctx, struct task_struct *task, u64 now, int runnable)
{
    u64 key = (u64)task;
    struct turn *turn = turns.lookup(&key), next;

    if (!pt_read(task->pid) || (!turn && !pt_is_traced(task)))
        return;
    if (turn && turn->running)
        show(ctx, task, turn, now, runnable);
    if (!runnable && pt_state_of(task) & TASK_IS_DEAD) {
        turns.delete(&key);
        return;
    }
    __builtin_memset(&next, 0, sizeof(next));
    if (runnable)
        next.queued = now;
    else
        next.asleep = now;
    if (turns.update(&key, &next))
        pt_lost(PT_LOSS_INFLIGHT_FULL);
}

static __always_inline void enter(struct task_struct *task, u64 now)
{
    u64 key = (u64)task;
    struct turn *turn = turns.lookup(&key), first;

    if (turn) {
        turn->running = now;
        return;
    }
    if (!pt_read(task->pid) || !pt_is_traced(task))
        return;
    __builtin_memset(&first, 0, sizeof(first));
    first.running = now;
    if (turns.update(&key, &first))
        pt_lost(PT_LOSS_INFLIGHT_FULL);
}

static int on_switch(void *ctx, struct task_struct *prev, struct task_struct *next, int runnable)
{
    u64 now = bpf_ktime_get_ns();

    leave(ctx, prev, now, runnable);
    enter(next, now);
    return PT_PASS;
}
