// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Count attempts to collapse pages into huge pages, by the owner of the memory and the result.
//
// khugepaged attempts it for any process, and a process for itself (MADV_COLLAPSE): the owner of the memory is known in
// both cases.
#include "other_task.h"
#include "task_rows.h"
#include <linux/mm_types.h>

#if defined(PT_PACKAGED_HEADERS)
#define PT_HAS_mm_struct__owner 1
#endif
#if !PT_HAS_mm_struct__owner
#error "this kernel does not say whose memory it is (CONFIG_MEMCG)"
#endif

#define SCAN_SUCCEED 1

enum memory { ANON, FILES };

struct row_key {
    PT_TASK_KEY;
#ifdef BY_MEMORY
    u32 memory;
#endif
#ifdef BY_RESULT
    u32 result;
#endif
#ifdef BY_CAUSE
    u32 is_itself;
#endif
};

struct row_value {
    u64 attempts;
    PT_TASK_NAME;
};
#include "rows.h"

static __always_inline int count(struct mm_struct *mm, enum memory memory, u32 result)
{
    struct task_struct *owner = pt_read(mm->owner);
    struct row_value *row;
    struct row_key key;

    if (!owner || !pt_is_traced(owner))
        return PT_PASS;
    __builtin_memset(&key, 0, sizeof(key));
    pt_fill_task_key_of(&key, owner);
#ifdef BY_MEMORY
    key.memory = memory;
#endif
#ifdef BY_RESULT
    key.result = result;
#endif
#ifdef BY_CAUSE
    key.is_itself = pt_read(owner->tgid) == bpf_get_current_pid_tgid() >> 32;
#endif
    row = pt_row(&key);
    if (!row)
        return PT_PASS;
    row->attempts++;
    pt_fill_task_name_of(row, owner);
    return PT_PASS;
}

// A range that passes the scan is collapsed next, with a result of its own.
int scanned(struct tracepoint__huge_memory__mm_khugepaged_scan_pmd *args)
{
    return args->status == SCAN_SUCCEED ? PT_PASS : count(args->mm, ANON, args->status);
}

int collapsed(struct tracepoint__huge_memory__mm_collapse_huge_page *args)
{
    return count(args->mm, ANON, args->status);
}

#ifdef HOOK_COLLAPSE_TRACEPOINT
int scanned_file(struct tracepoint__huge_memory__mm_khugepaged_scan_file *args)
{
    return args->result == SCAN_SUCCEED ? PT_PASS : count(args->mm, FILES, args->result);
}

int collapsed_file(struct tracepoint__huge_memory__mm_khugepaged_collapse_file *args)
{
    return count(args->mm, FILES, args->result);
}
#endif
