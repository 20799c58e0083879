// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Show each process (with THREADS: each thread) as it exits, and why.
#include "task.h"
#include <linux/mm_types.h>
#if __has_include(<linux/sched/signal.h>) // before Linux 4.11 it is in linux/sched.h
#include <linux/sched/signal.h>
#endif

#define ROOM                4096 // bytes of arguments that are shown
#define PT_GROUP_EXIT       0x4  // SIGNAL_GROUP_EXIT, a macro and so absent from BTF
#define PT_STATUS_OF_SIGNAL 0x7f
#define PT_CORE_DUMPED      0x80

struct event {
    u64 ns;
    u64 age_ns;
    u32 pid;
    u32 tid;
    u32 ppid;
    u32 uid;
    s32 code;   // -1: a signal ended it
    u32 signal; // 0: none
    u32 core;
    char comm[PT_COMM_LEN];
    u32 args_len;
    u8 args[ROOM];
};
#include "stream.h"

#ifndef THREADS
// Threads that exit at the same time may each see that no other is left. The process is shown once.
struct process_key {
    u64 started;
    u32 pid;
    u32 zero;
};
BPF_TABLE("lru_hash", struct process_key, u8, shown_processes, 4096);

// Return 1 for the first thread to ask after all have begun to exit.
static __always_inline int is_last_thread(u32 pid)
{
    struct process_key process = {pt_current_field_of(group_leader, start_time), pid, 0};
    u8 present = 1;

    if (pt_current_field_of(signal, live.counter))
        return 0;
    return shown_processes.insert(&process, &present) == 0;
}
#endif

// Copy the arguments if the memory of the program still exists: from Linux 6.16 on it is freed before.
static __always_inline u64 copy_arguments(struct event *event)
{
    u64 from = pt_current_field_of(mm, arg_start), size = pt_current_field_of(mm, arg_end) - from;

    event->args_len = 0;
    if (size > ROOM) {
        pt_lost(PT_LOSS_TRUNCATED);
        size = ROOM;
    }
    pt_opaque(size);
    if (!size || size > ROOM || pt_probe_read_user(event->args, size, (void *)from))
        return 0;
    event->args_len = size;
    return size;
}

int exited(void *ctx)
{
    u64 id = bpf_get_current_pid_tgid(), size;
    struct event *event;
    u32 status;

    if (!pt_is_current_traced())
        return PT_PASS;
#ifndef THREADS
    if (!is_last_thread(id >> 32))
        return PT_PASS;
#endif
    event = pt_prepare();
    if (!event)
        return PT_PASS;
    event->ns = bpf_ktime_get_ns();
#ifdef THREADS
    event->age_ns = event->ns - pt_current_field(start_time);
    status = pt_current_field(exit_code);
    bpf_get_current_comm(&event->comm, sizeof(event->comm));
#else
    event->age_ns = event->ns - pt_current_field_of(group_leader, start_time);
    // The status that wait(2) returns to the parent: of exit_group(2) or a fatal signal, else of the first thread.
    status = pt_current_field_of(signal, flags) & PT_GROUP_EXIT ? pt_current_field_of(signal, group_exit_code)
             : (u32)id == id >> 32 ? pt_current_field(exit_code)
                                   : pt_current_field_of(group_leader, exit_code);
    pt_process_name(event->comm);
#endif
    event->pid = id >> 32;
    event->tid = id;
    event->ppid = pt_current_parent();
    event->uid = bpf_get_current_uid_gid();
    event->signal = status & PT_STATUS_OF_SIGNAL;
    event->core = !!(status & PT_CORE_DUMPED);
    event->code = event->signal ? -1 : status >> 8 & 0xff;
    size = copy_arguments(event);
    pt_send(ctx, event, offsetof(struct event, args) + size);
    return PT_PASS;
}
