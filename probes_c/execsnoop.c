// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Show programs as they are executed, with all their arguments, and failed executions.
//
// The arguments are in the program's memory already when the kernel reports the exec: in one block, each with a NUL. If
// the exec failed, they must be read from the memory of the calling program.
#include "exec_calls.h"
#include "loops.h"
#include "task.h"
#include <linux/cred.h>

#define ROOM  16384                        // for the arguments in one record
#define PARTS PT_LOOP_LIMIT(384, 384, 5)   // all but the last, for 6 MB; more is E2BIG (bprm_stack_limits)
#define WORDS PT_LOOP_LIMIT(8192, 256, 12) // of a program that was not executed
#define WORD  (ROOM / 2)                   // space for each

struct event {
    u64 ns;
    u32 pid;
    u32 ppid;
    u32 uid;
    u32 euid;   // differs for a setuid program
    u32 error;  // 0: none
    u32 unused; // aligns "args" to 8 bytes
    char comm[PT_COMM_LEN];
    u32 args_len;
    u32 args_at;
    u8 args[ROOM];
};
#define PT_RECORDS 2
#include "returns.h"
#include "parts.h"

static __always_inline struct event *begin(u32 error)
{
    struct event *event = pt_prepare_in(error ? 1 : 0);

    if (!event)
        return 0;
    event->ns = bpf_ktime_get_ns();
    event->pid = bpf_get_current_pid_tgid() >> 32;
    event->ppid = pt_current_parent();
    event->uid = bpf_get_current_uid_gid();
    event->euid = pt_current_field_of(cred, euid.val);
    event->error = error;
    bpf_get_current_comm(&event->comm, sizeof(event->comm));
    event->args_at = 0;
    return event;
}

int executed(void *ctx)
{
    u64 from = pt_current_field_of(mm, arg_start), size = pt_current_field_of(mm, arg_end) - from;
    struct event *event;

    if (!pt_may_trace_current()) // the command, which was pending, executes now
        return PT_PASS;
    event = begin(0);
    if (event)
        pt_send_parts(ctx, event, from, size);
    return PT_PASS;
}

struct words {
    u32 index;
    u32 complete;
    struct event *event;
    u64 argv;
    u64 step;
};

PT_LOOP_BODY(2, struct words *words)
{
    struct event *event = words->event; // variable state is in the record, which saves the verifier most work
    u64 word = 0, used;

    if (pt_probe_read_user(&word, words->step, (void *)words->argv) && event->error != EFAULT)
        return 1;
    words->complete = !word;
    if (!word)
        return 1;
    words->argv += words->step;
    if (!words->index) // the path replaces it
        return 0;
    used = event->args_len;
    if (used > ROOM - WORD)
        return 1;
    used += pt_read_string((char *)event->args + used, WORD, word, event->error == EFAULT);
    event->args_len = used;
    return 0;
}

static __always_inline int on_return(void *ctx, struct pt_return *call)
{
    struct words words = {.step = 8 - 4 * ((call->call >> 32 | call->call >> 30) & 1)}; // x32: 4, too
    enum exec_call kind = exec_call_of(call->call);
    struct event *event;
    u64 path;

    if (kind == OTHER || !pt_is_failed(call->ret) || !pt_is_current_traced())
        return PT_PASS;
    event = begin(-call->ret);
    if (!event)
        return PT_PASS;
    path = kind == EXECVEAT ? call->args[1] : call->args[0];
    words.argv = kind == EXECVEAT ? call->args[2] : call->args[1];
    words.event = event;
    event->args_len = pt_read_string((char *)event->args, WORD, path, event->error == EFAULT);
    PT_LOOP_RUN(2, WORDS, &words);
    if (!words.complete)
        pt_lost(PT_LOSS_TRUNCATED);
    pt_send(ctx, event, offsetof(struct event, args) + event->args_len);
    return PT_PASS;
}
