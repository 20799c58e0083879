// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Numbers of system calls, as a tracer that looks for a few of them writes them down. "call" is what pt_call gives
// (syscall.h); each line has the call's name and its number of x86-64, i386, arm64 and 32-bit Arm, -1 where an ABI
// has none. tests/unit/test_numbers.py compares them with the tables.
#if defined(__x86_64__)
// Calls of x32 have the numbers of x86-64 and a bit (those that have others are not for this).
#define PT_IS(call, name, x86_64, i386, arm64, arm)                                                          \
    (((call) & ~0x40000000ULL) == (u64)(x86_64) || (call) == (1ULL << 32 | (u64)(i386)))
#elif defined(__aarch64__)
#define PT_IS(call, name, x86_64, i386, arm64, arm)                                                          \
    ((call) == (u64)(arm64) || (call) == (1ULL << 32 | (u64)(arm)))
#endif

static int kind_of(u64 call);

// A first look at a number, of whichever ABI it is.
static __always_inline int is_wanted(u32 nr)
{
    return kind_of(nr) || kind_of(1ULL << 32 | nr);
}
