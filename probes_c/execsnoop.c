// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Programs as they are executed, with all their arguments; and what could not be executed.
//
// A program's arguments are in its memory already when the kernel says that it executes: as one block, each
// with a NUL behind it. Where it failed they must be looked for in the memory of who tried.
#include "loops.h"
#include "task.h"

#define ROOM  16384             // for the arguments in one record
#define PARTS PT_TURNS(385, 6)  // of 6 MB, three quarters of _STK_LIM: more is E2BIG (bprm_stack_limits)
#define WORDS PT_TURNS(256, 12) // of a program that was not executed
#define WORD  (ROOM / 2)        // room for each

struct event {
    u64 ns;
    u32 pid;
    u32 ppid;
    u32 uid;
    u32 error; // 0: none
    char comm[PT_COMM_LEN];
    u32 args_len;
    u32 args_at;
    u8 args[ROOM];
};
#define PT_RECORDS 2
#include "returns.h"
#include "stream.h"

static __always_inline struct event *begin(u32 error)
{
    struct event *event = pt_prepare_in(error ? 1 : 0);
    struct task_struct *parent = pt_own(real_parent);

    if (!event)
        return 0;
    event->ns = bpf_ktime_get_ns();
    event->pid = bpf_get_current_pid_tgid() >> 32;
    event->ppid = pt_read(parent->tgid);
    event->uid = bpf_get_current_uid_gid();
    event->error = error;
    bpf_get_current_comm(&event->comm, sizeof(event->comm));
    event->args_at = 0;
    return event;
}

// Send "size" bytes of the arguments, from "from" on. Returns whether there is no use in going on.
static __always_inline int send_part(void *ctx, struct event *event, u64 from, u64 size)
{
    pt_opaque(size);
    if (size > ROOM)
        size = ROOM;
    if (pt_probe_read_user(event->args, size, (void *)from)) {
        pt_lost(PT_LOSS_CUT);
        if (event->args_at)
            return 1;
        event->args_len = size = 0;
    }
    if (!pt_output(ctx, event, offsetof(struct event, args) + size))
        return !size;
    pt_lost(event->args_at ? PT_LOSS_CUT : PT_LOSS_RING);
    return 1;
}

int executed(void *ctx)
{
    struct mm_struct *mm = pt_own(mm);
    u64 from = pt_read(mm->arg_start), left = pt_read(mm->arg_end) - from;
    struct event *event;

    if (pt_task() == PT_NO) // the command, which was pending, executes now
        return PT_PASS;
    event = begin(0);
    if (!event)
        return PT_PASS;
    event->args_len = left;
    PT_LOOP
    for (int part = 1; part < PARTS; part++) {
        if (left <= ROOM)
            break;
        if (send_part(ctx, event, from, ROOM))
            return PT_PASS;
        from += ROOM;
        left -= ROOM;
        event->args_at += ROOM;
    }
    if (left > ROOM)
        pt_lost(PT_LOSS_CUT);
    else
        send_part(ctx, event, from, left);
    return PT_PASS;
}

enum how { OTHER, EXECVE, EXECVEAT };

static __always_inline enum how how(u64 call)
{
    u32 nr = call;

    if (call >> 32 && nr == 11)
        return EXECVE;
#if defined(__x86_64__)
    if (call >> 32)
        return nr == 358 ? EXECVEAT : OTHER;
    if (nr & 0x40000000) // x32
        return (nr & 0xffff) == 520 ? EXECVE : (nr & 0xffff) == 545 ? EXECVEAT : OTHER;
    return nr == 59 ? EXECVE : nr == 322 ? EXECVEAT : OTHER;
#else
    return nr == 221 ? EXECVE : nr == 281 || (call >> 32 && nr == 387) ? EXECVEAT : OTHER;
#endif
}

static __always_inline int is_wanted(u32 nr)
{
    return how(nr) != OTHER || how(1ULL << 32 | nr) != OTHER;
}

static __always_inline int on_return(void *ctx, struct pt_return *call)
{
    enum how kind = how(call->call);
    u64 path, argv, word, used, step = 8 - 4 * ((call->call >> 32 | call->call >> 30) & 1); // x32: 4, too
    struct event *event;

    if (kind == OTHER || call->ret >= 0 || pt_task() != PT_YES)
        return PT_PASS;
    event = begin(-call->ret);
    if (!event)
        return PT_PASS;
    path = kind == EXECVEAT ? call->args[1] : call->args[0];
    argv = kind == EXECVEAT ? call->args[2] : call->args[1];
    event->args_len = pt_read_string((char *)event->args, WORD, path, event->error == EFAULT);
    PT_LOOP
    for (int i = 0; i < WORDS; i++, argv += step) { // its state in the record spares the verifier most work
        word = 0;
        if (pt_probe_read_user(&word, step, (void *)argv) && event->error != EFAULT)
            break;
        if (!word)
            goto complete;
        if (!i) // the path stands in its place
            continue;
        used = event->args_len;
        if (used > ROOM - WORD)
            break;
        used += pt_read_string((char *)event->args + used, WORD, word, event->error == EFAULT);
        event->args_len = used;
    }
    pt_lost(PT_LOSS_CUT);
complete:
    pt_send(ctx, event, offsetof(struct event, args) + event->args_len);
    return PT_PASS;
}
