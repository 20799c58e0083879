// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// In-flight calls of functions, from entry to return. The tracer that includes this has defined struct pt_call with the
// members ns (entry time), tid (the calling thread) and caller (the return address).
//
// The key of a kernel function's call is its task and the stack address of its return address. No other call of that
// task has the same until it returns: so recursion is exact, and if the kernel misses a return, no other return is
// taken for it. The key of a user function's call has the process instead, because coroutines change threads and take
// their stacks with them. Goroutines' stacks move; their keys have the distance from the upper end of the stack. A
// stale entry is replaced by the next call with its key; user space deletes those of exited tasks
// (src/pytracer/bpf/read/inflight.py).
#include "loss.h"
#include "target.h"

struct pt_call_key {
    u64 task; // for kernel functions, and for the kernel's return probes; else the goroutine, or 0
    u64 frame;
    u64 target; // the upper 32 bits have the pid, if "task" does not imply one
};
BPF_HASH(pt_calls, struct pt_call_key, struct pt_call, 65536);

// The stack address of the call's return address: the same at its entry and at its return.
static __always_inline u64 pt_frame(void *ctx, u64 point)
{
    struct pt_regs *regs = ctx;
    u64 frame = 0, context = (u64)ctx;

    if (point & PT_TRAMPOLINE) {
        // Both programs of a call get the same context, on the trampoline's stack. It is read as a number because
        // before Linux 5.12 (cd17d38f8b28) the verifier accepts no pointer in a key.
        pt_probe_read_kernel(&frame, sizeof(frame), &context);
        return frame;
    }
#if defined(__x86_64__)
    frame = pt_read(regs->sp);
    if ((point & PT_RETURN) && !(point & PT_SITE)) // the return has popped the address
        frame -= point & PT_USER ? pt_word_size(regs) : 8;
#elif defined(__aarch64__)
    frame = pt_read(regs->sp);
#else
#error "the stack pointer is not known on this architecture"
#endif
    return frame;
}

// Make the key that of a goroutine. Returns an error if its g cannot be read, since other goroutines would have the
// same key. The g is in thread-local storage also where Go keeps it in a register (from 1.17).
static __always_inline int pt_goroutine(struct pt_call_key *key)
{
#if defined(__x86_64__)
    u64 high = 0, offset = PT_G_OFFSET;
    int error;

    pt_opaque(offset);
    // The kernel saves it when arch_prctl or clone sets it; Go sets it in no other way.
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

// Fill in the key of the current call. Returns 0 or an error.
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

static __always_inline void pt_call_enter(void *ctx, struct pt_call *call)
{
    u64 id = bpf_get_current_pid_tgid(), point = pt_point();
    struct pt_call_key key;
    struct pt_call *entry;
    int error;

    if (pt_call_key(ctx, &key)) {
        pt_lost(PT_LOSS_UNREAD);
        return;
    }
    call->tid = point & PT_GOROUTINE ? id >> 32 : id; // goroutines change threads
    call->caller = point & PT_SITE ? pt_return_address(ctx) : 0;
    call->ns = bpf_ktime_get_ns(); // last
    error = pt_calls.insert(&key, call);
    if (error == -17) { // EEXIST
        entry = pt_calls.lookup(&key);
        if (entry && (point & PT_REENTERS) && entry->caller == call->caller)
            return; // the same call has jumped back to its entry
        if (entry && (point & PT_SITE))
            pt_lost(PT_LOSS_UNWOUND);
        else if (entry && entry->tid == call->tid) // else of an exited task at the same address
            pt_lost(PT_LOSS_NO_RETURN);
        error = pt_calls.update(&key, call);
    }
    if (error)
        pt_lost(PT_LOSS_INFLIGHT_FULL);
}

#if defined(__x86_64__)
// From Linux 6.14 (4346ba160409) the function graph tracer runs return probes of many functions. Their registers have
// no valid stack pointer, but struct pt_regs itself is on the stack and ends where the return address was; before
// 20a0bc10272f, a word above.
static __always_inline struct pt_call *pt_graph_call(void *ctx, struct pt_call_key *key)
{
    u64 registers = 0, context = (u64)ctx;
    struct pt_call *entry;

    pt_probe_read_kernel(&registers, sizeof(registers), &context);
    key->frame = registers + sizeof(struct pt_regs);
    entry = pt_calls.lookup(key);
    if (entry)
        return entry;
    key->frame -= 8;
    return pt_calls.lookup(key);
}
#endif

// Copy the call that returns into "call" and its duration into "ns". Returns 0 if its entry was not seen.
static __always_inline int pt_call_exit(void *ctx, struct pt_call *call, u64 *ns)
{
    u64 now = bpf_ktime_get_ns(), point = pt_point();
    struct pt_call_key key;
    struct pt_call *entry;

    if (pt_call_key(ctx, &key))
        return 0; // the next call with that key, or the end of the process, counts PT_LOSS_UNWOUND
    entry = pt_calls.lookup(&key);
#if defined(__x86_64__)
    if (!entry && point == PT_RETURN)
        entry = pt_graph_call(ctx, &key);
#endif
    // Another function returns from the stack address of a stale call.
    if (!entry || ((point & PT_TAIL) && entry->caller != pt_return_address(ctx)))
        return 0;
    *call = *entry;
    *ns = now - call->ns;
    pt_calls.delete(&key);
    if (point & PT_INDIRECT) {
        pt_lost(PT_LOSS_INDIRECT);
        return 0;
    }
    return 1;
}

// The number of readable arguments: for a trampoline all of the function's, else those in registers.
#define PT_ARGUMENTS_MAX 6

static __always_inline u32 pt_argument_count(void)
{
    u64 count = PT_ARGUMENTS;

    pt_opaque(count);
    return count < PT_ARGUMENTS_MAX ? count : PT_ARGUMENTS_MAX;
}

// Read the arguments of a call at its entry.
static __always_inline void pt_read_arguments(void *ctx, u64 *args)
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

// Read the return value of a call that has returned.
static __always_inline u64 pt_return_value(void *ctx)
{
    struct pt_regs *regs = ctx;

    if (pt_point() & PT_TRAMPOLINE)
        return pt_trampoline_result(ctx);
#if defined(__x86_64__)
    return pt_read(regs->ax);
#elif defined(__aarch64__)
    return pt_read(regs->regs[0]);
#endif
}
