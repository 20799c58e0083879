// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Raises the generation of a process (struct pt_image of stack.h) when it maps code, before any task can run that code.
// Unmapping needs no new generation: nothing runs there until something else is mapped. Only sampled processes have a
// generation; for others this costs a look-up.
//
// With fexit, the hook is perf_event_mmap(), which the kernel calls under the mmap lock for each mapping that is made
// (mmap, shmat, exec) or changed (mprotect). Without it, the hook is the trace event of that lock's release (Linux
// 5.11, 2b5067a8143e), which does not tell what was done. There the generation is raised if the number of pages with
// code has changed, or if the system call maps code.
#define PT_VM_EXEC   4 // VM_EXEC
#define PT_PROT_EXEC 4 // PROT_EXEC

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

#if defined(HOOK_MAPPING_FEXIT)
int pt_mapped(u64 *ctx)
{
    struct vm_area_struct *vma = (struct vm_area_struct *)ctx[0];
    u32 pid = bpf_get_current_pid_tgid() >> 32;
    struct pt_image *known = images.lookup(&pid);

    if (known && (vma->vm_flags & PT_VM_EXEC))
        known->generation = bpf_ktime_get_ns();
    return 0;
}
#elif PT_BY_LOCK

#if defined(PT_HAS_TASK_PT_REGS) && (defined(__x86_64__) || defined(__aarch64__))
// Return 1 if the current system call maps code: mmap, mprotect and pkey_mprotect have the protection as their third
// argument, in the same register in each ABI. If a number means another call in another ABI, the generation is raised
// needlessly, which is harmless.
static __always_inline int pt_maps_code(void)
{
    struct pt_regs *regs = pt_registers(0);
#if defined(__x86_64__)
    u64 number = pt_register(regs, orig_ax), wanted = pt_register(regs, dx);
    int maps =
        number == 9 || number == 10 || number == 329 || number == 192 || number == 125 || number == 380;
#else
    u64 number = pt_register(regs, syscallno), wanted = pt_register(regs, regs[2]);
    int maps =
        number == 222 || number == 226 || number == 288 || number == 192 || number == 125 || number == 394;
#endif

    return maps && (wanted & PT_PROT_EXEC);
}
#else
#define pt_maps_code() 0
#endif

// mmap_lock_released: struct mm_struct *mm, [const char *memcg_path until Linux 6.14,] bool write
int pt_mapped(struct bpf_raw_tracepoint_args *ctx)
{
    struct mm_struct *mm = (struct mm_struct *)ctx->args[0];
    u32 pid = bpf_get_current_pid_tgid() >> 32;
    struct pt_image *known;
    u64 exec_vm;

#ifdef HOOK_MAPPING_RAW_TRACEPOINT_PATH
    if (!(u8)ctx->args[2])
        return 0;
#else
    if (!ctx->args
             [1]) // with --hook forcing this alternative on older kernels it is the path: readers pass, too
        return 0;
#endif
    known = images.lookup(&pid);
    if (!known || mm != pt_current_field(mm))
        return 0;
    exec_vm = pt_exec_vm();
    if (exec_vm != known->exec_vm || pt_maps_code()) {
        known->exec_vm = exec_vm;
        known->generation = bpf_ktime_get_ns();
    }
    return 0;
}
#endif
