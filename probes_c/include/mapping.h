// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Raises the generation of a process (struct pt_image of stack.h) when it maps code, before any task can run that code.
// Unmapping needs no new generation: nothing runs there until something else is mapped. Only sampled processes have a
// generation; for others this costs a look-up.
//
// With fexit, the hook is perf_event_mmap(), which the kernel calls under the mmap lock for each mapping that is made
// (mmap, shmat, exec) or changed (mprotect). Without it, the hook is the trace event of that lock's release (Linux
// 5.11, 2b5067a8143e), which does not tell what was done. There the generation is raised if the number of pages with
// code has changed, or if the system call maps code.
//
// mremap() moves code without either, and nobody records it. Its function copy_vma() has a kprobe beside the former
// hook, or alone; beside the latter, the old mapping is looked up (Linux 5.17, 7c7e3d31e785) before the lock is taken.
#include "loops.h"
#define PT_VM_EXEC   4      // VM_EXEC
#define PT_PROT_EXEC 4      // PROT_EXEC
#define PT_SHM_EXEC  0x8000 // SHM_EXEC

#if defined(HOOK_MAPPING_RAW_TRACEPOINT_PATH) || defined(HOOK_MAPPING_RAW_TRACEPOINT)
#define PT_BY_LOCK 1
#else
#define PT_BY_LOCK 0
#endif

static __always_inline u64 pt_exec_vm(void)
{
#if PT_BY_LOCK
    return pt_current_field_of(mm, exec_vm);
#else
    return 0;
#endif
}

// Raise the generation of the current process because it moves code. A process without samples gets one, too: its
// parent's may be looked up for it.
static __always_inline void pt_note_move(void)
{
    u32 pid = bpf_get_current_pid_tgid() >> 32;
    struct pt_image new_image = {}, *entry = images.lookup_or_try_init(&pid, &new_image);

    if (entry)
        entry->moved = entry->generation = bpf_ktime_get_ns();
}

#if defined(HOOK_MAPPING_KPROBE) || defined(HOOK_MAPPING_FEXIT)
// copy_vma(struct vm_area_struct **vmap, ...): the verifier knows no addresses of pointers, and the number of arguments
// changes, so that fexit would not know where the result is.
int pt_moved(struct pt_regs *ctx)
{
    struct vm_area_struct *vma = 0;

    pt_probe_read_kernel(&vma, sizeof(vma), (void *)PT_REGS_PARM1(ctx));
    if (pt_read(vma->vm_flags) & PT_VM_EXEC)
        pt_note_move();
    return PT_PASS;
}
#endif

#if defined(HOOK_MAPPING_FEXIT)
int pt_mapped(u64 *ctx)
{
    struct vm_area_struct *vma = (struct vm_area_struct *)ctx[0];
    u32 pid = bpf_get_current_pid_tgid() >> 32;
    struct pt_image *entry = images.lookup(&pid);

    if (entry && (vma->vm_flags & PT_VM_EXEC))
        entry->generation = bpf_ktime_get_ns();
    return 0;
}
#elif PT_BY_LOCK
// mmap_lock_released and mmap_lock_start_locking: struct mm_struct *mm, [const char *memcg_path until Linux 6.14,]
// bool write
#ifdef HOOK_MAPPING_RAW_TRACEPOINT_PATH
#define PT_WRITE(ctx) ((u8)(ctx)->args[2])
#else // with --hook forcing this alternative on older kernels it is the path: readers pass, too
#define PT_WRITE(ctx) (!!(ctx)->args[1])
#endif

#if defined(PT_HAS_TASK_PT_REGS) && (defined(__x86_64__) || defined(__aarch64__))
#if defined(__x86_64__)
#define PT_CALL(regs)                           pt_register(regs, orig_ax)
#define PT_FIRST(regs)                          pt_register(regs, di)
#define PT_SECOND(regs)                         pt_register(regs, si)
#define PT_THIRD(regs)                          pt_register(regs, dx)
#define PT_IS(number, x86_64, i386, arm64, arm) ((number) == (x86_64) || (number) == (i386))
#else
#define PT_CALL(regs)                           pt_register(regs, syscallno)
#define PT_FIRST(regs)                          pt_register(regs, regs[0])
#define PT_SECOND(regs)                         pt_register(regs, regs[1])
#define PT_THIRD(regs)                          pt_register(regs, regs[2])
#define PT_IS(number, x86_64, i386, arm64, arm) ((number) == (arm64) || (number) == (arm))
#endif

// Return 1 if the current system call maps code: mmap, mprotect and pkey_mprotect have the protection as their third
// argument, in the same register in each ABI; shmat has flags there. remap_file_pages keeps the protection. If a number
// means another call in another ABI, the generation is raised needlessly, which is harmless.
static __always_inline int pt_maps_code(void)
{
    struct pt_regs *regs = pt_registers(0);
    u64 number = PT_CALL(regs), wanted = PT_THIRD(regs);

    if (PT_IS(number, 9, 192, 222, 192) || PT_IS(number, 10, 125, 226, 125) ||
        PT_IS(number, 329, 380, 288, 394))
        return !!(wanted & PT_PROT_EXEC);
    if (PT_IS(number, 30, 397, 196, 305))
        return !!(wanted & PT_SHM_EXEC);
    return PT_IS(number, 216, 257, 234, 253);
}

#define PT_SEES_MOVES 1
// Threads that have called mremap() for code.
BPF_HASH(moving, u32, u8, 1024);

struct pt_code_range {
    struct vm_area_struct *vma;
    u64 end;
    int is_code;
};

#ifdef PT_HAS_FIND_VMA
PT_VMA_BODY(1, struct pt_code_range *range)
{
    struct vm_area_struct *vma = range->vma;

    // Of several mappings, moved at once (Linux 6.17), others may have code.
    range->is_code = (vma->vm_flags & PT_VM_EXEC) || range->end > vma->vm_end;
    return 0;
}
#endif

// Runs of pt_moving that the kernel skips because the helper, called by it, tries the lock. They are no loss.
BPF_PERCPU_ARRAY(pt_recursions, u64, 1);

// Return 1 unless a range of the current process is known to have no code.
static __always_inline int pt_has_code(u64 start, u64 size)
{
#ifdef PT_HAS_FIND_VMA
    struct pt_code_range range = {.end = start + size};
    u32 first_key = 0;
    u64 *recursions = pt_recursions.lookup(&first_key);
    long error = PT_VMA_RUN(1, start, &range);

    if (recursions)
        (*recursions)++;
    return range.is_code || (error && error != -2 /* -ENOENT: no mapping */);
#else
    return 1;
#endif
}

static __always_inline int pt_is_mremap(struct pt_regs *regs)
{
    u64 number = PT_CALL(regs);

    return PT_IS(number, 25, 163, 216, 163);
}

int pt_moving(struct bpf_raw_tracepoint_args *ctx)
{
    struct mm_struct *mm = (struct mm_struct *)ctx->args[0];
    struct pt_regs *regs;
    u32 tid = bpf_get_current_pid_tgid();
    u8 present = 1;

    if (!PT_WRITE(ctx) || mm != pt_current_field(mm))
        return 0;
    regs = pt_registers(0);
    if (pt_is_mremap(regs) && pt_has_code(PT_FIRST(regs), PT_SECOND(regs)))
        moving.update(&tid, &present);
    return 0;
}
#else // without the registers of the system call, a move is not seen
#define pt_maps_code() 0
#define PT_SEES_MOVES  0

int pt_moving(struct bpf_raw_tracepoint_args *ctx)
{
    return 0;
}
#endif

int pt_mapped(struct bpf_raw_tracepoint_args *ctx)
{
    u32 pid = bpf_get_current_pid_tgid() >> 32, tid = bpf_get_current_pid_tgid();
    struct mm_struct *mm = (struct mm_struct *)ctx->args[0];
    struct pt_image *entry;
    u64 exec_vm;

    if (!PT_WRITE(ctx) || mm != pt_current_field(mm))
        return 0;
#if PT_SEES_MOVES
    if (pt_is_mremap(pt_registers(0)) && !moving.delete(&tid))
        pt_note_move();
#endif
    entry = images.lookup(&pid);
    if (!entry)
        return 0;
    exec_vm = pt_exec_vm();
    if (exec_vm != entry->exec_vm || pt_maps_code()) {
        entry->exec_vm = exec_vm;
        entry->generation = bpf_ktime_get_ns();
    }
    return 0;
}
#endif
