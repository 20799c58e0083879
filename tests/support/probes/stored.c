// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// What is kept with the running task, one by one more: tests/kernel/test_map_types_in_c.py.
#include <linux/sched.h>

struct sum {
    u64 none;
    u64 runs;
};
BPF_TASK_STORAGE(stored, struct sum);

int kept(void *ctx)
{
    struct sum *sum = stored.task_storage_get(bpf_get_current_task_btf(), 0, BPF_LOCAL_STORAGE_GET_F_CREATE);

    return sum ? ++sum->runs : 0;
}
