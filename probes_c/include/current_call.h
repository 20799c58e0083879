// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// The system call of the current task, as pt_call returns it, from the user registers.
#include "syscall.h"

#define PT_NO_CALL (~0ULL) // an exception, a kernel thread, or unknown

#if defined(PT_HAS_TASK_PT_REGS)
static void *(*pt_registers_of)(struct task_struct *task) = (void *)175; // bpf_task_pt_regs, Linux 5.15

static __always_inline struct pt_regs *pt_user_registers(void)
{
    return pt_registers_of(bpf_get_current_task_btf());
}

// Those of a task that an iterator gives.
static __always_inline struct pt_regs *pt_registers_of_task(struct task_struct *task)
{
    return pt_registers_of(task);
}
#elif defined(__x86_64__)
// They are at the upper end of the kernel stack of 16 KiB. KASAN doubles its size; the values then fail the test in
// pt_current_call.
static __always_inline struct pt_regs *pt_registers_of_task(struct task_struct *task)
{
    return (struct pt_regs *)((u64)pt_read(task->stack) + 16384 - sizeof(struct pt_regs));
}

static __always_inline struct pt_regs *pt_user_registers(void)
{
    return pt_registers_of_task(pt_current());
}
#else
static __always_inline struct pt_regs *pt_registers_of_task(struct task_struct *task)
{
    return 0;
}

static __always_inline struct pt_regs *pt_user_registers(void)
{
    return 0;
}
#endif

static __always_inline u64 pt_current_call(void)
{
#if defined(__x86_64__)
    struct pt_regs *regs = pt_user_registers();
    u16 segment = pt_read(regs->cs), stack = pt_read(regs->ss);
    s32 number = pt_read(regs->orig_ax);

    // __USER_CS or __USER32_CS, and __USER_DS: entered from user mode. Exceptions and interrupts have -1 or less.
    return (segment == 0x33 || segment == 0x23) && stack == 0x2b && number >= 0 ? pt_call(number)
                                                                                : PT_NO_CALL;
#elif defined(__aarch64__) && defined(PT_HAS_TASK_PT_REGS)
    struct pt_regs *regs = pt_user_registers();
    s32 number = pt_read(regs->syscallno);

    // PSR_MODE_MASK: 0 is EL0. NO_SYSCALL is -1.
    return !(pt_read(regs->pstate) & 0xf) && number >= 0 ? pt_call(number) : PT_NO_CALL;
#else
    return PT_NO_CALL;
#endif
}
