// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Reading memory. The kernel's own headers are included for those who compile with them; with types from BTF
// they are empty. Linux 5.5 (6ae08ae3dea2) split bpf_probe_read in two; before, one read both.
#include <linux/sched.h>

#ifdef PT_HAS_PROBE_READ_KERNEL
#define pt_probe_read_kernel     bpf_probe_read_kernel
#define pt_probe_read_user       bpf_probe_read_user
#define pt_probe_read_user_str   bpf_probe_read_user_str
#define pt_probe_read_kernel_str bpf_probe_read_kernel_str
#else
#define pt_probe_read_kernel     bpf_probe_read
#define pt_probe_read_user       bpf_probe_read
#define pt_probe_read_user_str   bpf_probe_read_str
#define pt_probe_read_kernel_str bpf_probe_read_str
#endif

// What a program on a trace event or function returns: after 0 the kernel would hide the event from perf and
// whoever else looks at it (trace_call_bpf).
#define PT_PASS 1

// The value of a member behind a kernel pointer: pt_read(task->tgid).
#define pt_read(member)                                                                                      \
    ({                                                                                                       \
        typeof(member) value_;                                                                               \
        __builtin_memset(&value_, 0, sizeof(value_));                                                        \
        pt_probe_read_kernel(&value_, sizeof(value_), (void *)&(member));                                    \
        value_;                                                                                              \
    })

// The same of what an argument of a raw tracepoint points to: pt_argument(task, tgid). Where kernel memory may not be
// read, the plan takes the tracepoint with typed arguments, which may be followed (Linux 5.5).
#ifdef PT_TYPED_ARGUMENTS
#define pt_argument(pointer, member) ((pointer)->member)
#else
#define pt_argument(pointer, member) pt_read((pointer)->member)
#endif

// The compiler is not to know where this came from: else it leaves out the comparison that the verifier wants
// to see, or makes it with a copy.
#define pt_opaque(value) asm volatile("" : "+r"(value))

#define PT_COMM_LEN 16 // TASK_COMM_LEN, a macro until Linux 5.17 and so absent from BTF

// The process that a task is a child of.
static __always_inline u32 pt_parent_of(struct task_struct *task)
{
    struct task_struct *parent = pt_read(task->real_parent);

    return pt_read(parent->tgid);
}

static __always_inline struct task_struct *pt_current(void)
{
    return (struct task_struct *)bpf_get_current_task();
}

// The value of a member of the task that runs, pt_current_field(signal), and of what it points to,
// pt_current_field_of(mm, exec_vm). Where there is a pointer whose type the kernel knows (Linux 5.11, 3ca1032ab7ab),
// one instruction, which lockdown=confidentiality does not withhold, either; else a call for each. Of what is not
// there it is 0.
#ifdef PT_HAS_TASK_BTF
#define pt_current_field(member)             (bpf_get_current_task_btf()->member)
#define pt_current_field_of(pointer, member) (bpf_get_current_task_btf()->pointer->member)
#else
#define pt_current_field(member)             pt_read(pt_current()->member)
#define pt_current_field_of(pointer, member) pt_read(pt_current_field(pointer)->member)
#endif
#define pt_current_parent() pt_current_field_of(real_parent, tgid)

// The registers that the task that runs came into the kernel with, as a pointer of known type (Linux 5.15,
// dd6e10fbd9fb): pt_register(regs, ax).
#ifdef PT_HAS_TASK_PT_REGS
static void *(*pt_task_pt_regs)(struct task_struct *task) = (void *)175; // bpf_task_pt_regs
#define pt_registers(argument)      ((struct pt_regs *)pt_task_pt_regs(bpf_get_current_task_btf()))
#define pt_register(regs, register) ((regs)->register)
#else
#define pt_registers(argument)      ((struct pt_regs *)(argument))
#define pt_register(regs, register) pt_read((regs)->register)
#endif

// Whether the kernel runs a thread of its own: PF_KTHREAD, a macro and so absent from BTF.
static __always_inline int pt_is_kernel_thread(void)
{
    return !!(pt_current_field(flags) & 0x00200000);
}
