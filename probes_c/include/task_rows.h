// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Members of rows by the task that runs: its process (BY_PID), its name (BY_COMM).
//
//     struct row_key { PT_TASK_KEY; }         with other members, or alone
//     struct row_value { PT_TASK_NAME; }      last
//     pt_fill_task_key(&key)                  key is zeroed before
//     pt_fill_task_name(row)
#include "task.h"

#ifdef BY_PID
#define PT_TASK_PID           u32 pid
#define pt_fill_task_pid(key) ((key)->pid = bpf_get_current_pid_tgid() >> 32)
// "seen" is the time of the last update: the latest of the per-CPU names is shown.
#define PT_TASK_NAME                                                                                         \
    u64 seen;                                                                                                \
    char comm[PT_COMM_LEN]
#define pt_fill_task_name(row)                                                                               \
    ({                                                                                                       \
        (row)->seen = bpf_ktime_get_ns();                                                                    \
        pt_process_name((row)->comm);                                                                        \
    })
#else
#define PT_TASK_PID
#define pt_fill_task_pid(key)
#define PT_TASK_NAME
#define pt_fill_task_name(row)
#endif

#ifdef BY_COMM
#define PT_TASK_COMM           char comm[PT_COMM_LEN]
#define pt_fill_task_comm(key) bpf_get_current_comm(&(key)->comm, sizeof((key)->comm))
#else
#define PT_TASK_COMM
#define pt_fill_task_comm(key)
#endif

#if defined(BY_PID) || defined(BY_COMM)
#define PT_TASK_KEY                                                                                          \
    PT_TASK_PID;                                                                                             \
    PT_TASK_COMM
#else
#define PT_TASK_KEY u32 all // a key has a member
#endif

#define pt_fill_task_key(key)                                                                                \
    ({                                                                                                       \
        pt_fill_task_pid(key);                                                                               \
        pt_fill_task_comm(key);                                                                              \
    })
