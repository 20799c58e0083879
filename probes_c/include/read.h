// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Reads kernel and user memory. The included kernel headers are empty if the types come from BTF. Linux 5.5
// (6ae08ae3dea2) split bpf_probe_read into one helper for each.
//
//     pt_read(pointer->member)                    the value of a member; 0 if it cannot be read
//     pt_argument(pointer, member)                the same of an argument of a raw tracepoint
//     pt_current_field(member)                    a member of the current task
//     pt_current_field_of(pointer, member)        a member of a struct that the current task points to
//     struct task_struct *pt_current(void)        the current task
//     u32 pt_current_parent()                     the pid of its parent
//     u32 pt_parent_of(struct task_struct *task)  the pid of a task's parent
//     int pt_is_kernel_thread(void)               1 if the current task is a thread of the kernel
//     pt_opaque(value)                            hides the origin of a variable from the compiler
//     u64 pt_fetch_add(u64 *word, u64 value)      adds atomically; returns what the word was before
//     long pt_probe_read_kernel(void *to, u32 size, const void *from)
//     long pt_probe_read_user(void *to, u32 size, const void *from)
//                                                 copies memory; below 0 if it cannot be read
//     long pt_probe_read_kernel_str(void *to, u32 size, const void *from)
//     long pt_probe_read_user_str(void *to, u32 size, const void *from)
//                                                 copies a string; returns its size with the NUL
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

// The return value of a program on a trace event or function. After 0 the kernel would hide the event from perf and
// other users (trace_call_bpf).
#define PT_PASS 1

// The value of a member behind a kernel pointer: pt_read(task->tgid).
#define pt_read(member)                                                                                      \
    ({                                                                                                       \
        typeof(member) value_;                                                                               \
        __builtin_memset(&value_, 0, sizeof(value_));                                                        \
        pt_probe_read_kernel(&value_, sizeof(value_), (void *)&(member));                                    \
        value_;                                                                                              \
    })

// A member of a struct that an argument of a raw tracepoint points to: pt_argument(task, tgid). If kernel memory may
// not be read (lockdown), the planner takes the typed tracepoint, whose arguments the verifier can dereference (Linux
// 5.5).
#ifdef PT_TYPED_ARGUMENTS
#define pt_argument(pointer, member) ((pointer)->member)
#else
#define pt_argument(pointer, member) pt_read((pointer)->member)
#endif

// Hide the origin of a value from the compiler, which would otherwise drop a comparison that the verifier needs, or
// compare a copy.
#define pt_opaque(value) asm volatile("" : "+r"(value))

// Add to a word and return what it was before, which programs can do since Linux 5.12; before, that must not be used.
// From clang 20 on, the builtin returns nothing for the processor that BCC compiles for: the assembler does. (bpf_loop
// is of Linux 5.17.)
static __always_inline u64 pt_fetch_add(u64 *word, u64 value)
{
#if __clang_major__ >= 20 && (defined(PT_HAS_ATOMIC_FETCH) || defined(PT_HAS_BPF_LOOP))
    asm volatile("%0 = atomic_fetch_add((u64 *)(%1 + 0), %0)" : "+r"(value) : "r"(word) : "memory");
    return value;
#else
    return __sync_fetch_and_add(word, value);
#endif
}

#define PT_COMM_LEN 16 // TASK_COMM_LEN, a macro until Linux 5.17 and so absent from BTF

// The pid of a task's parent.
static __always_inline u32 pt_parent_of(struct task_struct *task)
{
    struct task_struct *parent = pt_read(task->real_parent);

    return pt_read(parent->tgid);
}

static __always_inline struct task_struct *pt_current(void)
{
    return (struct task_struct *)bpf_get_current_task();
}

// A member of the current task, pt_current_field(signal), or of a struct that it points to,
// pt_current_field_of(mm, exec_vm); 0 if the pointer is null. With a BTF pointer (Linux 5.11, 3ca1032ab7ab) this is one
// instruction, which lockdown=confidentiality allows, too; else a helper call for each.
#ifdef PT_HAS_TASK_BTF
#define pt_current_field(member)             (bpf_get_current_task_btf()->member)
#define pt_current_field_of(pointer, member) (bpf_get_current_task_btf()->pointer->member)
#else
#define pt_current_field(member)             pt_read(pt_current()->member)
#define pt_current_field_of(pointer, member) pt_read(pt_current_field(pointer)->member)
#endif
#define pt_current_parent() pt_current_field_of(real_parent, tgid)

// The user registers of the current task, as a BTF pointer where the kernel has the helper (Linux 5.15, dd6e10fbd9fb);
// else those of the argument: pt_register(regs, ax).
static void *(*pt_task_pt_regs)(struct task_struct *task) = (void *)175; // bpf_task_pt_regs
#ifdef PT_HAS_TASK_PT_REGS
#define pt_registers(argument)      ((struct pt_regs *)pt_task_pt_regs(bpf_get_current_task_btf()))
#define pt_register(regs, register) ((regs)->register)
#else
#define pt_registers(argument)      ((struct pt_regs *)(argument))
#define pt_register(regs, register) pt_read((regs)->register)
#endif

// Return 1 if the current task is a kernel thread (PF_KTHREAD, a macro and so absent from BTF).
static __always_inline int pt_is_kernel_thread(void)
{
    return !!(pt_current_field(flags) & 0x00200000);
}
