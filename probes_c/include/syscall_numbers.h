// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// PT_IS(call, NAME, numbers) compares a system call by its numbers, for tracers of a few calls. "call" is the result of
// pt_call (syscall.h). The numbers are those of x86-64, i386, arm64 and 32-bit Arm, -1 if an ABI does not have the
// call. tests/unit/kernel/test_numbers.py compares them with the tables.
#if defined(__x86_64__)
#define PT_NUMBER(x86_64, arm64) (x86_64) // of the call of 64-bit programs
// Calls of x32 have the numbers of x86-64 plus a bit. (The few with other numbers cannot be compared by this.)
#define PT_IS(call, name, x86_64, i386, arm64, arm)                                                          \
    (((call) & ~0x40000000ULL) == (u64)(x86_64) || (call) == (1ULL << 32 | (u64)(i386)))
#elif defined(__aarch64__)
#define PT_NUMBER(x86_64, arm64) (arm64)
#define PT_IS(call, name, x86_64, i386, arm64, arm)                                                          \
    ((call) == (u64)(arm64) || (call) == (1ULL << 32 | (u64)(arm)))
#endif

static int kind_of(u64 call);

// A cheap first test of a number, before its ABI is known.
static __always_inline int is_wanted(u32 nr)
{
    return kind_of(nr) || kind_of(1ULL << 32 | nr);
}
