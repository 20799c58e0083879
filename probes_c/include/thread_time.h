// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// The time of each thread, without a gap: it runs, waits for a CPU, or is blocked. Include it behind sched.h and
// syscall.h.
//
//     pt_find_thread(task)                   a thread that was seen, or 0
//     pt_begin_thread(task, state, now, 0)   a thread is seen first, in this state
//     pt_enter_state(thread, state, now)     adds its time in a state to the rows; another state begins
//
// Rows are added up when a state ends. At the end of an interval and of the run an iterator settles those that go on
// (pt_settle_other), while threads may go to another state. Nothing locks them (a program on a tracepoint may take no
// lock). So the iterator writes how far it has settled, and looks again whether the state is the same. At the end
// nothing else is attached any more.
#include "other_task.h"
#include "waits.h"

struct row_value {
    u64 total_ns;
    u64 count;
    u64 samples;
};
#include "rows.h"

enum pt_thread_state {
    PT_RUNS,
    PT_QUEUED,
    PT_BLOCKED,
};

struct pt_thread {
    u64 since;   // when the state began
    u64 settled; // up to when it was settled before its end
    u64 counted; // up to when the thread's life is in the totals
    u64 mark;    // when the user or kernel mode began that it runs in
    u64 kernel_ns;
    u64 run_ns;     // its time on CPUs
    u64 charged_ns; // what the kernel had charged it for before
    s64 taken_ns;   // of run_ns what the kernel did not charge it for
    s64 counted_ns; // of that what is in the totals
    u32 state;
    u32 in_call;
    struct row_key at; // where it is blocked
};
BPF_HASH(pt_threads, u64, struct pt_thread, 65536); // by the task's address

struct pt_totals {
    u64 life_ns;
    u64 taken_ns;
    u64 threads;
};
BPF_PERCPU_ARRAY(totals, struct pt_totals, 1);
// Larger than the stack of a program has room for: of programs on tracepoints, and of the iterator, which they
// interrupt.
BPF_PERCPU_ARRAY(pt_new_thread, struct pt_thread, 2);
BPF_PERCPU_ARRAY(pt_cpu_key, struct row_key, 2);

#define TASK_IS_DEAD 0x80 // an exited task does not return to a CPU

// A task that has exited may have left what a filter selects tasks by. Processes keep their ids.
static __always_inline int pt_has_left(struct task_struct *task)
{
#if defined(PT_FILTER_NETNS) || defined(PT_FILTER_MNTNS) || defined(PT_FILTER_CGROUP)
    return !!(pt_state_of(task) & TASK_IS_DEAD);
#else
    return 0;
#endif
}

static __always_inline struct pt_totals *pt_totals(void)
{
    int zero = 0;

    return totals.lookup(&zero);
}

static __always_inline struct pt_thread *pt_find_thread(struct task_struct *task)
{
    u64 key = (u64)task;

    return pt_threads.lookup(&key);
}

static __always_inline struct pt_thread *pt_begin_thread(struct task_struct *task, u32 state, u64 now,
                                                         int slot)
{
    struct pt_thread *new = pt_new_thread.lookup(&slot);
    struct pt_totals *sums = pt_totals();
    struct row_key *place;
    u64 key = (u64)task;
    int error;

    if (!new || !sums)
        return 0;
    __builtin_memset(new, 0, sizeof(*new));
    new->since = new->counted = new->mark = now;
    new->state = state;
    new->charged_ns = pt_read(task->se.sum_exec_runtime);
    place = &new->at;
    place->kernel_stack = place->user_stack = PT_STACK_NONE;
    place->class = PT_OTHER;
    place->call = PT_NO_CALL;
    error = pt_threads.insert(&key, new);
    if (!error)
        sums->threads++;
    else if (error != -17) // EEXIST: another program began it at the same time
        pt_lost(PT_LOSS_INFLIGHT_FULL);
    return error ? 0 : pt_threads.lookup(&key);
}

// Add time to the row of a class that has no stack.
static __always_inline void pt_add_plain(u32 class, u64 ns, int slot)
{
    struct row_key *key = pt_cpu_key.lookup(&slot);
    struct row_value *row;

    if (!key || !ns)
        return;
    __builtin_memset(key, 0, sizeof(*key));
    key->kernel_stack = key->user_stack = PT_STACK_NONE;
    key->class = class;
    key->call = PT_NO_CALL;
    row = pt_row(key);
    if (row) {
        row->total_ns += ns;
        row->count++;
    }
}

// The time in the mode that the thread runs in. The iterator may have settled it on another CPU since "now".
static __always_inline u64 pt_in_mode(struct pt_thread *thread, u64 now)
{
    u64 mark = thread->mark;

    return now > mark ? now - mark : 0;
}

// Add the time of the current state, of which "ns" are not in the rows yet.
static __always_inline void pt_add_state(struct pt_thread *thread, u64 ns, u64 now, int slot)
{
    u64 kernel_ns = thread->kernel_ns;
    struct row_value *row;

    if (thread->state == PT_BLOCKED) {
        row = ns ? pt_row(&thread->at) : 0;
        if (row) {
            row->total_ns += ns;
            row->count++;
        }
    } else if (thread->state == PT_QUEUED) {
        pt_add_plain(PT_RUNNABLE, ns, slot);
    } else {
        if (thread->in_call)
            kernel_ns += pt_in_mode(thread, now);
        if (kernel_ns > ns)
            kernel_ns = ns;
        thread->kernel_ns = 0;
        thread->mark = now;
        pt_add_plain(PT_KERNEL, kernel_ns, slot);
        pt_add_plain(PT_USER, ns - kernel_ns, slot);
    }
}

static __always_inline u64 pt_settled_until(struct pt_thread *thread)
{
    return thread->settled > thread->since ? thread->settled : thread->since;
}

// The state of a thread ends, and another begins. The caller has the thread's run queue locked.
static __always_inline void pt_enter_state(struct pt_thread *thread, u32 state, u64 now)
{
    u64 begin = pt_settled_until(thread);

    if (now < begin) // it was settled on another CPU, whose clock is ahead
        now = begin;
    thread->since = now;
    pt_add_state(thread, now - begin, now, 0);
    thread->state = state;
    thread->mark = now;
}

// Steal and interrupts: the time on a CPU that the kernel does not charge the thread for, whose code they interrupt. It
// is known at a switch only, since the kernel's sum is late in between.
static __always_inline void pt_note_run(struct task_struct *task, struct pt_thread *thread, u64 now)
{
    if (thread->state != PT_RUNS)
        return;
    thread->run_ns += now - thread->since;
    thread->taken_ns = thread->run_ns - (pt_read(task->se.sum_exec_runtime) - thread->charged_ns);
}

static __always_inline void pt_count_life(struct pt_thread *thread, u64 now)
{
    struct pt_totals *sums = pt_totals();

    if (sums && now > thread->counted) {
        sums->life_ns += now - thread->counted;
        thread->counted = now;
    }
    if (sums && thread->taken_ns > thread->counted_ns) {
        sums->taken_ns += thread->taken_ns - thread->counted_ns;
        thread->counted_ns = thread->taken_ns;
    }
}

// A thread of the iterator: it gets its time up to now.
static __always_inline void pt_settle_other(struct pt_thread *thread)
{
    u64 since = thread->since, begin = pt_settled_until(thread), now = bpf_ktime_get_ns();

    if (now <= begin)
        return;
    thread->settled = now;
    asm volatile("" ::: "memory");
    if (thread->since != since) // its state has just ended, and the program of that has settled it
        return;
    pt_add_state(thread, now - begin, now, 1);
    pt_count_life(thread, now);
}

// A thread that is there when the trace begins.
static __always_inline void pt_begin_listed(struct task_struct *task, int waits_for_io)
{
    u32 state = pt_read(task->on_cpu) ? PT_RUNS : pt_read(task->on_rq) ? PT_QUEUED : PT_BLOCKED;
    struct pt_regs *registers = pt_read(task->mm) ? pt_registers_of_task(task) : 0;
    struct pt_thread *thread;

    if (pt_read(task->exit_state)) // a zombie
        return;
    thread = pt_begin_thread(task, state, bpf_ktime_get_ns(), 1);
    if (thread && state == PT_BLOCKED)
        pt_classify(&thread->at, pt_read(task->files), registers, pt_state_of(task), waits_for_io);
}
