// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Members of rows by task: its process (BY_PID), its thread (BY_TID), its name (BY_COMM).
//
//     struct row_key { PT_TASK_KEY; }         with other members, or alone
//     struct row_value { PT_TASK_NAME; }      last
//     pt_fill_task_key(&key)                  of the current task; key is zeroed before
//     pt_fill_task_name(row)
//
// pt_fill_task_key_of(&key, task) and pt_fill_task_name_of(row, task) are for another task, such as the one that is
// switched to; pt_fill_known_key(&key, pid, comm) and pt_fill_known_name(row, comm) for a process that is known already.
#include "task.h"

#ifdef BY_PID
#define PT_TASK_PID                    u32 pid
#define pt_fill_task_pid(key)          ((key)->pid = bpf_get_current_pid_tgid() >> 32)
#define pt_fill_task_pid_of(key, task) ((key)->pid = pt_read((task)->tgid))
// "seen" is the time of the last update: the latest of the per-CPU names is shown.
#define PT_TASK_NAME                                                                                         \
    u64 seen;                                                                                                \
    char comm[PT_COMM_LEN]
#define pt_fill_task_name(row)                                                                               \
    ({                                                                                                       \
        (row)->seen = bpf_ktime_get_ns();                                                                    \
        pt_process_name((row)->comm);                                                                        \
    })
#define pt_fill_task_name_of(row, task)                                                                      \
    ({                                                                                                       \
        struct task_struct *leader_ = pt_read((task)->group_leader);                                         \
                                                                                                             \
        (row)->seen = bpf_ktime_get_ns();                                                                    \
        pt_probe_read_kernel(&(row)->comm, sizeof((row)->comm), &leader_->comm);                             \
    })
#define pt_fill_known_pid(key, number) ((key)->pid = (number))
#define pt_fill_known_name(row, name)                                                                        \
    ({                                                                                                       \
        (row)->seen = bpf_ktime_get_ns();                                                                    \
        __builtin_memcpy((row)->comm, name, PT_COMM_LEN);                                                    \
    })
#else
#define PT_TASK_PID
#define pt_fill_known_pid(key, number)
#define pt_fill_known_name(row, name)
#define pt_fill_task_pid(key)
#define pt_fill_task_pid_of(key, task)
#define PT_TASK_NAME
#define pt_fill_task_name(row)
#define pt_fill_task_name_of(row, task)
#endif

#ifdef BY_TID
#define PT_TASK_TID                    u32 tid
#define pt_fill_task_tid(key)          ((key)->tid = bpf_get_current_pid_tgid())
#define pt_fill_task_tid_of(key, task) ((key)->tid = pt_read((task)->pid))
#else
#define PT_TASK_TID
#define pt_fill_task_tid(key)
#define pt_fill_task_tid_of(key, task)
#endif

#ifdef BY_COMM
#define PT_TASK_COMM                    char comm[PT_COMM_LEN]
#define pt_fill_task_comm(key)          bpf_get_current_comm(&(key)->comm, sizeof((key)->comm))
#define pt_fill_task_comm_of(key, task) pt_probe_read_kernel(&(key)->comm, sizeof((key)->comm), &(task)->comm)
#define pt_fill_known_comm(key, name)   __builtin_memcpy((key)->comm, name, PT_COMM_LEN)
#else
#define PT_TASK_COMM
#define pt_fill_known_comm(key, name)
#define pt_fill_task_comm(key)
#define pt_fill_task_comm_of(key, task)
#endif

#if defined(BY_PID) || defined(BY_TID) || defined(BY_COMM)
#define PT_TASK_KEY                                                                                          \
    PT_TASK_PID;                                                                                             \
    PT_TASK_TID;                                                                                             \
    PT_TASK_COMM
#else
#define PT_TASK_KEY u32 all // a key has a member
#endif

#define pt_fill_task_key(key)                                                                                \
    ({                                                                                                       \
        pt_fill_task_pid(key);                                                                               \
        pt_fill_task_tid(key);                                                                               \
        pt_fill_task_comm(key);                                                                              \
    })
#define pt_fill_task_key_of(key, task)                                                                       \
    ({                                                                                                       \
        pt_fill_task_pid_of(key, task);                                                                      \
        pt_fill_task_tid_of(key, task);                                                                      \
        pt_fill_task_comm_of(key, task);                                                                     \
    })
#define pt_fill_known_key(key, pid, name)                                                                    \
    ({                                                                                                       \
        pt_fill_known_pid(key, pid);                                                                         \
        pt_fill_known_comm(key, name);                                                                       \
    })
