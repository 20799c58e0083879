// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// The target for which a program runs: pt_target(context) is its target id, below PT_TARGETS.
//
// One function is compiled for all. Before it is loaded, PT_TARGET in its instructions becomes the number, where a
// program is loaded for each target; or what says where to get it from: the cookie that it was attached with, or
// the address of the function that it was called in. The verifier sees a constant, and does not look at the rest:
// a helper that this kernel, or this kind of program, has not is not missed.
#include "read.h"
#include <linux/ptrace.h>

#define PT_TARGET     0x7079547261636500ULL // pytracer.bpf.image.TARGET
#define PT_RESULT     0x7079547261636501ULL // pytracer.bpf.image.RESULT
#define PT_POINT      0x7079547261636502ULL // pytracer.bpf.image.POINT
#define PT_ARGUMENTS  0x7079547261636503ULL // pytracer.bpf.image.ARGUMENTS
#define PT_G_OFFSET   0x7079547261636504ULL // pytracer.bpf.image.G_OFFSET
#define PT_BY_COOKIE  0x7ffffffe            // fits a jump, which any verifier follows
#define PT_BY_ADDRESS 0x7fffffff

// Under a name of our own: BCC before 0.22 does not know it.
static u64 (*pt_attach_cookie)(void *ctx) = (void *)174;

#ifdef PT_ADDRESSES
BPF_HASH(pt_addresses, u64, u32, PT_ADDRESSES);

// Where the probe stands whose registers these are. BPF's own helper for that is as young as the cookies.
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

#ifdef PT_KINDS
// Which of pytracer.spec.Targets.kinds the program runs for, from 1 on; 0: none.
static __always_inline u32 pt_kind(void *ctx)
{
    u32 target = pt_target(ctx);

    return target < 16 ? (PT_KINDS >> 4 * target) & 15 : 0;
}
#endif

// pytracer.spec.Point: what the context is.
enum pt_point {
    PT_ENTRY = 1,      // a function's first instruction: struct pt_regs, or a trampoline's
    PT_RETURN = 2,     // it has returned: likewise
    PT_TRAMPOLINE = 4, // the context is an array of arguments, and when it has returned of the result, too
    PT_PROGRAM = 8,    // of a program, not of the kernel
    PT_SITE =
        16, // calls of the function are seen to end at its instructions; RETURN: at one, about to return
    PT_TAIL = 32, // in a function that it jumps to, and that others call, too
    PT_LOST = 64, // it jumps to a function that is not known
    PT_GOROUTINE = 128,
    PT_REENTERS = 256, // it may jump back to its entry
};

// Which of these hold for what the program runs for; none of a trace event, or a place within a function.
static __always_inline u64 pt_point(void)
{
    u64 point = PT_POINT;

    pt_opaque(point);
    return point;
}

// How many bytes an address has on the stack of the program that runs.
static __always_inline u32 pt_word(struct pt_regs *regs)
{
#if defined(__x86_64__)
    return pt_read(regs->cs) == 0x23 ? 4 : 8; // __USER32_CS
#else
    return 8;
#endif
}

// Where the function of a program returns to that has just begun, or is about to return; 0 if it cannot be read.
static __always_inline u64 pt_caller(struct pt_regs *regs)
{
    u64 address = 0;

#if defined(__x86_64__)
    pt_probe_read_user(&address, pt_word(regs), (void *)pt_read(regs->sp));
#elif defined(__aarch64__)
    address = pt_read(regs->regs[30]);
#endif
    return address;
}

// What such a program returns: PT_PASS, but 0 where it is a trampoline's.
static __always_inline int pt_pass(void)
{
    u64 result = PT_RESULT;

    pt_opaque(result);
    return result;
}
