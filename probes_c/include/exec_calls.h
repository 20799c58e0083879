// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// The system calls that execute a program, in each ABI: bit 32 of "call" is set for calls of 32-bit programs.
enum exec_call { OTHER, EXECVE, EXECVEAT };

static __always_inline enum exec_call exec_call_of(u64 call)
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
    return exec_call_of(nr) != OTHER || exec_call_of(1ULL << 32 | nr) != OTHER;
}
