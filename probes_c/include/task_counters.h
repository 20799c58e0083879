// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// The counters of each thread since it was first seen. The kernel counts most of them in the task; the tracer counts
// the others by pt_thread(). The tracer that includes this (behind sched.h) defines
//
//   account(task, thread)     add the increase since the last reading to a row
//
// which is called when a thread leaves its CPU. The first reading of a thread adds nothing: it is the baseline.
#include "other_task.h"

// The counters that the kernel keeps in a task.
struct pt_counters {
    u64 cpu_ns;
    u64 queued_ns;
    u64 minor_faults;
    u64 major_faults;
    u64 read_bytes;
    u64 written_bytes;
};

// The counters that programs increment. They only grow, so a reading may interrupt an update.
struct pt_counted {
    u64 calls;
    u64 tx_bytes;
    u64 rx_bytes;
};

struct pt_thread {
    struct pt_counters last;          // at the last reading
    struct pt_counted counted, added; // so far, and the part that is in rows
    u64 left_ns;                      // when it went to sleep; 0: it runs, or waits for a CPU
    u64 away_ns;                      // the time of completed sleeps that is not in a row yet
};
BPF_HASH(pt_threads, u64, struct pt_thread, 65536); // by the task's address

#define TASK_IS_DEAD 0x80 // an exited task does not return to a CPU

static __always_inline void account(struct task_struct *task, struct pt_thread *thread);

static __always_inline void pt_read_counters(struct task_struct *task, struct pt_counters *to)
{
    to->cpu_ns = pt_read(task->se.sum_exec_runtime);
    to->queued_ns = pt_read(task->sched_info.run_delay);
    to->minor_faults = pt_read(task->min_flt);
    to->major_faults = pt_read(task->maj_flt);
    to->read_bytes = pt_read(task->ioac.read_bytes);
    to->written_bytes = pt_read(task->ioac.write_bytes);
}

// Start to count a thread.
static __always_inline struct pt_thread *pt_begin_thread(struct task_struct *task)
{
    u64 key = (u64)task;
    struct pt_thread new = {};

    pt_read_counters(task, &new.last);
    if (pt_threads.update(&key, &new)) {
        pt_lost(PT_LOSS_INFLIGHT_FULL);
        return 0;
    }
    return pt_threads.lookup(&key);
}

static __always_inline struct pt_thread *pt_thread(void)
{
    struct task_struct *task = pt_current();
    u64 key = (u64)task;
    struct pt_thread *thread = pt_threads.lookup(&key);

    if (thread)
        return thread;
    return pt_is_current_traced() ? pt_begin_thread(task) : 0;
}

static int on_switch(void *ctx, struct task_struct *prev, struct task_struct *next, int runnable)
{
    u64 prev_key = (u64)prev, next_key = (u64)next, now = bpf_ktime_get_ns();
    struct pt_thread *thread;

    if (pt_read(prev->pid) && pt_is_traced(prev)) { // 0: the idle task
        thread = pt_threads.lookup(&prev_key);
        if (thread)
            account(prev, thread);
        else
            thread = pt_begin_thread(prev);
        if (thread)
            thread->left_ns = runnable ? 0 : now;
    }
    if (pt_state_of(prev) & TASK_IS_DEAD)
        pt_threads.delete(&prev_key);
    thread = pt_threads.lookup(&next_key);
    if (!thread) {
        if (pt_read(next->pid) && pt_is_traced(next))
            pt_begin_thread(next);
    } else if (thread->left_ns) {
        thread->away_ns = now - thread->left_ns;
        thread->left_ns = 0;
    }
    return PT_PASS;
}
