// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// pt_target(context) returns the target id for which a program runs, below PT_TARGETS.
//
// One function is compiled for all targets. The loader replaces PT_TARGET in its instructions: by the id if it loads a
// program for each target, else by PT_BY_COOKIE (the id is the cookie that it was attached with) or PT_BY_ADDRESS (the
// id is looked up by the address of the probed function). The verifier sees a constant and skips the other branches. The
// helper of cookies is called only by programs that get one: for others, the loader removes the call.
#include "read.h"
#include <linux/ptrace.h>

#define PT_TARGET     0x7079547261636500ULL // pytracer.bpf.image.TARGET
#define PT_RESULT     0x7079547261636501ULL // pytracer.bpf.image.RESULT
#define PT_POINT      0x7079547261636502ULL // pytracer.bpf.image.POINT
#define PT_ARGUMENTS  0x7079547261636503ULL // pytracer.bpf.image.ARGUMENTS
#define PT_G_OFFSET   0x7079547261636504ULL // pytracer.bpf.image.G_OFFSET
#define PT_BY_COOKIE  0x7ffffffe            // fits a jump, which any verifier follows
#define PT_BY_ADDRESS 0x7fffffff

// Declared here because BCC before 0.22 does not know this helper.
static u64 (*pt_attach_cookie)(void *ctx) = (void *)174;

#ifdef PT_ADDRESSES
BPF_HASH(pt_addresses, u64, u32, PT_ADDRESSES);

// The address of the probe that these registers are of. bpf_get_func_ip() is as new as cookies.
static __always_inline u64 pt_address(struct pt_regs *regs)
{
#if defined(__x86_64__)
    return pt_read(regs->ip) - 1; // as if the breakpoint had just been hit, whatever the probe is made of
#elif defined(__aarch64__)
    return pt_read(regs->pc);
#else
#error "where the address of a probe is is not known here"
#endif
}
#endif

static __always_inline u32 pt_target(void *ctx)
{
    u64 target = PT_TARGET;

    pt_opaque(target);
    if (target == PT_BY_COOKIE)
        return pt_attach_cookie(ctx);
#ifdef PT_ADDRESSES
    if (target == PT_BY_ADDRESS) {
        u64 address = pt_address(ctx);
        u32 *number = pt_addresses.lookup(&address);

        return number ? *number : PT_TARGETS;
    }
#endif
    return target;
}

// The result of a function, in a trampoline's program at its return: it is behind the arguments, as many as this kernel's
// function has.
static __always_inline u64 pt_trampoline_result(void *ctx)
{
    u64 count = PT_ARGUMENTS, result = 0;

    pt_opaque(count);
    pt_probe_read_kernel(&result, sizeof(result), ctx + 8 * count);
    return result;
}

#ifdef PT_KINDS
// The index in pytracer.spec.Targets.kinds of this target's kind, from 1; 0: none. PT_KINDS are words of eight kinds.
static __always_inline u32 pt_kind(void *ctx)
{
    const u64 words[] = {PT_KINDS};
    u32 target = pt_target(ctx);
    u64 word = 0;

#pragma unroll
    for (u32 i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (target / 8 == i)
            word = words[i];
    return (word >> target % 8 * 8) & 255;
}
#endif

// pytracer.spec.Point: where the program runs, and what its context is.
enum pt_point {
    PT_ENTRY = 1,      // a function's first instruction; the context is struct pt_regs, or a trampoline's
    PT_RETURN = 2,     // after the function's return; likewise
    PT_TRAMPOLINE = 4, // the context is an array of the arguments, and after a return also the result
    PT_USER = 8,       // a function of a program, not of the kernel
    PT_SITE =
        16, // probes on the function's instructions see its calls end; with RETURN: one that is about to return
    PT_TAIL = 32,     // in a function that it jumps to, which others call, too
    PT_INDIRECT = 64, // a jump to an unknown function
    PT_GOROUTINE = 128,
    PT_REENTERS = 256, // the function may jump back to its entry
};

// The flags of this program's point; 0 for a trace event, or an instruction within a function.
static __always_inline u64 pt_point(void)
{
    u64 point = PT_POINT;

    pt_opaque(point);
    return point;
}

// The size of an address on the user stack of the current task, in bytes.
static __always_inline u32 pt_word_size(struct pt_regs *regs)
{
#if defined(__x86_64__)
    return pt_read(regs->cs) == 0x23 ? 4 : 8; // __USER32_CS
#else
    return 8;
#endif
}

// The return address of a user function, at its entry or just before it returns; 0 if it cannot be read.
static __always_inline u64 pt_return_address(struct pt_regs *regs)
{
    u64 address = 0;

#if defined(__x86_64__)
    pt_probe_read_user(&address, pt_word_size(regs), (void *)pt_read(regs->sp));
#elif defined(__aarch64__)
    address = pt_read(regs->regs[30]);
#endif
    return address;
}

// The program's return value: PT_PASS, but 0 for a trampoline.
static __always_inline int pt_pass(void)
{
    u64 result = PT_RESULT;

    pt_opaque(result);
    return result;
}
