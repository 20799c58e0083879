// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Tests whether a program runs in an interrupt, not for the current task. No helper does that.
//
// Interrupts and softirqs have their own stacks; the context of a raw tracepoint or kprobe is on the stack of the code
// that raised it. Only x86 stays on the task's stack if user code was interrupted: then the task is in no system call.
// (A page fault looks the same, and counts as an interrupt.)
#include "current_call.h"

#define PT_THREAD_SIZE  16384      // THREAD_SIZE of x86-64 and arm64; twice that with KASAN
#define PT_FLAG_KTHREAD 0x00200000 // PF_KTHREAD, a macro

static __always_inline int pt_is_in_interrupt(void *ctx)
{
    u64 context = (u64)ctx, address = 0, stack = (u64)pt_current_field(stack);

    // Read as a number: before Linux 5.12 (cd17d38f8b28) the verifier compares no pointers.
    pt_probe_read_kernel(&address, sizeof(address), &context);
    if (address - stack >= PT_THREAD_SIZE)
        return 1;
#if defined(__x86_64__)
    return !(pt_current_field(flags) & PT_FLAG_KTHREAD) && pt_current_call() == PT_NO_CALL;
#else
    return 0;
#endif
}
