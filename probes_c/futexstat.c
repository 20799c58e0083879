// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Add up the time that threads wait in futex(2) and similar calls, by address and (STACKS) by the waiting stack.
#include "config.h"
#include "task_rows.h"
#ifdef STACKS
#include "stack.h"
#endif

struct row_key {
#if defined(STACKS)
    PT_STACKS_MEMBERS;
#elif defined(BY_PID)
    u32 pid;
#endif
#ifdef BY_LOCK
    u64 lock;
#endif
#ifdef BY_COMM
    char comm[PT_COMM_LEN];
#endif
};

struct row_value {
    u64 waits;
    u64 missed;
    u64 total_ns;
    u64 max_ns;
    PT_TASK_NAME;
};
#include "syscall_numbers.h"
#include "returns.h"
#include "rows.h"

#define COMMAND_MASK 0x7f  // without FUTEX_PRIVATE_FLAG and FUTEX_CLOCK_REALTIME
#define CHANGED      (-11) // EAGAIN

enum kind { OTHER, FUTEX, WAIT, WAIT_FOR_SOME };

static __always_inline int kind_of(u64 call)
{
    if (PT_IS(call, futex, 202, 240, 98, 240) || PT_IS(call, futex_time64, -1, 422, -1, 422))
        return FUTEX;
    if (PT_IS(call, futex_wait, 455, 455, 455, 455))
        return WAIT;
    return PT_IS(call, futex_waitv, 449, 449, 449, 449) ? WAIT_FOR_SOME : OTHER;
}

// FUTEX_WAIT, LOCK_PI, WAIT_BITSET, WAIT_REQUEUE_PI, LOCK_PI2
static __always_inline int waits(u32 command)
{
    return command == 0 || command == 6 || command == 9 || command == 11 || command == 13;
}

static __always_inline u64 address_of(struct pt_return *call, int kind)
{
    u64 address = 0;

    if (kind != WAIT_FOR_SOME)
        return call->args[0];
    pt_probe_read_user(&address, sizeof(address),
                       (void *)(call->args[0] + 8)); // uaddr of the first futex_waitv
    return address;
}

static __always_inline int on_return(void *ctx, struct pt_return *call)
{
    int kind = kind_of(call->call), missed = call->ret == CHANGED;
    struct row_value *row;
    struct row_key key;

    if (!kind || (kind == FUTEX && !waits(call->args[1] & COMMAND_MASK)) || call->ns < pt_cfg(PT_CFG_MIN) ||
        !pt_is_current_traced())
        return PT_PASS;
    __builtin_memset(&key, 0, sizeof(key));
#ifdef STACKS
    if (missed || pt_get_stacks(ctx, (struct pt_stacks *)&key)) // no room for the stack: the loss is counted
        return PT_PASS;
#elif defined(BY_PID)
    key.pid = bpf_get_current_pid_tgid() >> 32;
#endif
#ifdef BY_LOCK
    key.lock = address_of(call, kind);
#endif
#ifdef BY_COMM
    bpf_get_current_comm(&key.comm, sizeof(key.comm));
#endif
    row = pt_row(&key);
    if (!row)
        return PT_PASS;
    if (missed) {
        row->missed++;
    } else {
        row->waits++;
        pt_add_time(row, call->ns);
    }
    pt_fill_task_name(row);
    return PT_PASS;
}
