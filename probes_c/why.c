// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Add up where the time of threads goes: on CPUs, waiting for one, and blocked, by what they wait for.
#define PT_SEES_WAKEUPS
#include "sched.h"

static int on_enter(u32 nr);
static int on_leave(u32 nr, long ret);
#include "syscall.h"

#include "thread_time.h"

static __always_inline int waits_for_io(struct task_struct *task)
{
#ifdef PT_HAS_TASK_BTF
    return bpf_get_current_task_btf()->in_iowait;
#else
    return 0;
#endif
}

// The current thread, which runs.
static __always_inline struct pt_thread *running(void)
{
    struct task_struct *task = pt_current();
    struct pt_thread *thread;

    if (!pt_is_current_traced())
        return 0;
    thread = pt_find_thread(task);
    return thread ? thread : pt_begin_thread(task, PT_RUNS, bpf_ktime_get_ns(), 0);
}

static __always_inline void leaves(void *ctx, struct task_struct *task, int runnable, u64 now)
{
    struct pt_thread *thread = pt_find_thread(task);
    u64 state = pt_state_of(task), key = (u64)task;

    if (!thread && !(state & TASK_IS_DEAD))
        thread = pt_begin_thread(task, PT_RUNS, now, 0);
    if (!thread)
        return;
    pt_note_run(task, thread, now);
    pt_enter_state(thread, PT_QUEUED, now);
    if (state & TASK_IS_DEAD) {
        pt_count_life(thread, thread->since);
        pt_threads.delete(&key);
    } else if (!runnable) {
        __builtin_memset(&thread->at, 0, sizeof(thread->at));
        pt_get_stacks(ctx, (struct pt_stacks *)&thread->at);
        pt_classify(&thread->at, pt_current_field(files), pt_user_registers(), state, waits_for_io(task));
        thread->state = PT_BLOCKED;
    }
}

static int on_switch(void *ctx, struct task_struct *prev, struct task_struct *next, int runnable)
{
    u64 now = bpf_ktime_get_ns();
    struct pt_thread *thread;

    if ((pt_is_traced(prev) || pt_has_left(prev)) && pt_read(prev->pid)) // 0: the idle task
        leaves(ctx, prev, runnable, now);
    if (!pt_is_traced(next) || !pt_read(next->pid))
        return PT_PASS;
    thread = pt_find_thread(next);
    if (thread)
        pt_enter_state(thread, PT_RUNS, now);
    else
        pt_begin_thread(next, PT_RUNS, now, 0);
    return PT_PASS;
}

static int on_wakeup(struct task_struct *task)
{
    u64 now = bpf_ktime_get_ns();
    struct pt_thread *thread;

    if (!pt_is_traced(task))
        return PT_PASS;
    thread = pt_find_thread(task);
    if (!thread)
        pt_begin_thread(task, PT_QUEUED, now, 0);
    else if (thread->state == PT_BLOCKED)
        pt_enter_state(thread, PT_QUEUED, now);
    return PT_PASS;
}

static int on_enter(u32 nr)
{
    struct pt_thread *thread = running();

    if (thread) {
        thread->mark = bpf_ktime_get_ns();
        thread->in_call = 1;
    }
    return PT_PASS;
}

// A call that began before the thread was seen first, or in its parent, takes the time since then.
static int on_leave(u32 nr, long ret)
{
    struct pt_thread *thread = running();

    if (thread) {
        thread->kernel_ns += pt_in_mode(thread, bpf_ktime_get_ns());
        thread->in_call = 0;
    }
    return PT_PASS;
}

// A sample of a CPU: where the thread runs. The time is measured, not sampled.
int sample(void *ctx)
{
    struct pt_thread *thread = running();
    struct row_value *row;
    struct row_key key;

    if (!thread)
        return PT_PASS;
    __builtin_memset(&key, 0, sizeof(key));
    key.call = thread->in_call ? pt_current_call() : PT_NO_CALL;
    key.class = thread->in_call ? PT_KERNEL : PT_USER;
    if (pt_get_stacks(ctx, (struct pt_stacks *)&key))
        return PT_PASS;
    row = pt_row(&key);
    if (row)
        row->samples++;
    return PT_PASS;
}

// bpf_iter_task(meta, task): a thread that is there when the trace begins, or whose state goes on at the end of an
// interval.
int settled(u64 *ctx)
{
    struct task_struct *task = (struct task_struct *)ctx[1];
    struct pt_thread *thread;

    if (!task || !pt_is_traced(task)) // 0 at the end
        return 0;
    thread = pt_find_thread(task);
    if (thread)
        pt_settle_other(thread);
    else
        pt_begin_listed(task, 0);
    return 0;
}
