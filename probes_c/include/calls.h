// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Calls of functions from their beginning to their return: struct pt_call, which whoever includes this has defined,
// with the members ns (when it began), tid (of the thread that began it) and caller (where it returns to).
//
// A call of a kernel function is known by its task and by where on the stack it was called from, which no other call
// of that task can be until it has returned: recursion is exact, and a return that the kernel did not show is not taken
// for another one's. A call of a program's function is known likewise, by process: a coroutine may change threads, and
// its stack goes with it. A goroutine's stack moves; there the place is the distance from the upper end of the stack.
// What is left of such calls is replaced by the next from there; of tasks that ended, user space takes it away
// (src/pytracer/bpf/read/inflight.py).
#include "loss.h"
#include "target.h"

struct pt_call_key {
    u64 task; // of the kernel's functions, and of returns by the kernel's return probe; else the goroutine or 0
    u64 frame;
    u64 target; // and above 32 bits the process, where "task" is not known to be of one
};
BPF_HASH(pt_calls, struct pt_call_key, struct pt_call, 65536);

// Where on the stack the return address of the call is, or was: the same at its entry and at its return.
static __always_inline u64 pt_frame(void *ctx, u64 point)
{
    struct pt_regs *regs = ctx;
    u64 frame = 0, context = (u64)ctx;

    if (point & PT_TRAMPOLINE) {
        // Both programs of a call get what the trampoline has on the stack. By a read: before Linux 5.12
        // (cd17d38f8b28) the verifier lets no pointer into a key.
        pt_probe_read_kernel(&frame, sizeof(frame), &context);
        return frame;
    }
#if defined(__x86_64__)
    frame = pt_read(regs->sp);
    if ((point & PT_RETURN) && !(point & PT_SITE)) // which has taken the address off
        frame -= point & PT_PROGRAM ? pt_word(regs) : 8;
#elif defined(__aarch64__)
    frame = pt_read(regs->sp);
#else
#error "where the stack is is not known here"
#endif
    return frame;
}

// Make the key that of a goroutine; 0, or the error where its g cannot be read: the key would be that of others, too.
// The g is in thread-local storage also where Go keeps it in a register (since 1.17).
static __always_inline int pt_goroutine(struct pt_call_key *key)
{
#if defined(__x86_64__)
    u64 high = 0, offset = PT_G_OFFSET;
    int error;

    pt_opaque(offset);
    // Saved as it is set (arch_prctl, clone); Go does not set it otherwise.
    error = pt_probe_read_user(&key->task, sizeof(key->task),
                               (void *)(pt_read(pt_current()->thread.fsbase) + offset));
    if (!error)
        error = pt_probe_read_user(&high, sizeof(high), (void *)(key->task + 8)); // g.stack.hi
    key->frame = high - key->frame;
    return error;
#else
    return 0;
#endif
}

// 0, or an error where it is not known whose call it is.
static __always_inline int pt_call_key(void *ctx, struct pt_call_key *key)
{
    u64 point = pt_point();

    key->task = 0;
    key->frame = pt_frame(ctx, point);
    key->target = pt_target(ctx);
    if (point & PT_SITE)
        key->target |= bpf_get_current_pid_tgid() & ~0xffffffffULL;
    else
        key->task = bpf_get_current_task();
    return point & PT_GOROUTINE ? pt_goroutine(key) : 0;
}

static __always_inline void pt_call_begins(void *ctx, struct pt_call *call)
{
    u64 id = bpf_get_current_pid_tgid(), point = pt_point();
    struct pt_call_key key;
    struct pt_call *kept;
    int error;

    if (pt_call_key(ctx, &key)) {
        pt_lost(PT_LOSS_UNREAD);
        return;
    }
    call->tid = point & PT_GOROUTINE ? id >> 32 : id; // goroutines change threads
    call->caller = point & PT_SITE ? pt_caller(ctx) : 0;
    call->ns = bpf_ktime_get_ns(); // last
    error = pt_calls.insert(&key, call);
    if (error == -17) { // EEXIST
        kept = pt_calls.lookup(&key);
        if (kept && (point & PT_REENTERS) && kept->caller == call->caller)
            return; // it is still the same call
        if (kept && (point & PT_SITE))
            pt_lost(PT_LOSS_UNWOUND);
        else if (kept && kept->tid == call->tid) // else a task had this address before, and ended in the call
            pt_lost(PT_LOSS_NO_RETURN);
        error = pt_calls.update(&key, call);
    }
    if (error)
        pt_lost(PT_LOSS_INFLIGHT_FULL);
}

#if defined(__x86_64__)
// Since Linux 6.14 (4346ba160409) return probes of many functions are made by tracing of call graphs: what registers
// there are then has no stack pointer, or one of another place. But they stand on the stack, and end where the return
// address was; before 20a0bc10272f, a word above.
static __always_inline struct pt_call *pt_graph_call(void *ctx, struct pt_call_key *key)
{
    u64 registers = 0, context = (u64)ctx;
    struct pt_call *kept;

    pt_probe_read_kernel(&registers, sizeof(registers), &context);
    key->frame = registers + sizeof(struct pt_regs);
    kept = pt_calls.lookup(key);
    if (kept)
        return kept;
    key->frame -= 8;
    return pt_calls.lookup(key);
}
#endif

// Whether the call that returns was seen to begin; it is put into "call", and "ns" is how long it took.
static __always_inline int pt_call_ends(void *ctx, struct pt_call *call, u64 *ns)
{
    u64 now = bpf_ktime_get_ns(), point = pt_point();
    struct pt_call_key key;
    struct pt_call *kept;

    if (pt_call_key(ctx, &key))
        return 0; // what it began with is replaced by the next, or over with its process: PT_LOSS_UNWOUND
    kept = pt_calls.lookup(&key);
#if defined(__x86_64__)
    if (!kept && point == PT_RETURN)
        kept = pt_graph_call(ctx, &key);
#endif
    // A stranger returns here, called from where a call of the function was that is left behind.
    if (!kept || ((point & PT_TAIL) && kept->caller != pt_caller(ctx)))
        return 0;
    *call = *kept;
    *ns = now - call->ns;
    pt_calls.delete(&key);
    if (point & PT_LOST) {
        pt_lost(PT_LOSS_INDIRECT);
        return 0;
    }
    return 1;
}

// How many arguments there are to be had: of a trampoline as many as the function has, else those in registers.
#define PT_ARGUMENTS_MAX 6

static __always_inline u32 pt_argument_count(void)
{
    u64 count = PT_ARGUMENTS;

    pt_opaque(count);
    return count < PT_ARGUMENTS_MAX ? count : PT_ARGUMENTS_MAX;
}

// The arguments of a call that begins.
static __always_inline void pt_arguments(void *ctx, u64 *args)
{
    struct pt_regs *regs = ctx;
    u32 count = pt_argument_count();

    if (pt_point() & PT_TRAMPOLINE) {
        if (count)
            pt_probe_read_kernel(args, 8 * count, ctx);
        return;
    }
#if defined(__x86_64__)
    args[0] = pt_read(regs->di);
    args[1] = pt_read(regs->si);
    args[2] = pt_read(regs->dx);
    args[3] = pt_read(regs->cx);
    args[4] = pt_read(regs->r8);
    args[5] = pt_read(regs->r9);
#elif defined(__aarch64__)
    pt_probe_read_kernel(args, 8 * PT_ARGUMENTS_MAX, regs->regs);
#endif
}

// What a call that has ended returned.
static __always_inline u64 pt_returned(void *ctx)
{
    struct pt_regs *regs = ctx;
    u64 count = PT_ARGUMENTS, result = 0;

    if (pt_point() & PT_TRAMPOLINE) { // behind the arguments
        pt_opaque(count);
        pt_probe_read_kernel(&result, sizeof(result), ctx + 8 * count);
        return result;
    }
#if defined(__x86_64__)
    return pt_read(regs->ax);
#elif defined(__aarch64__)
    return pt_read(regs->regs[0]);
#endif
}
