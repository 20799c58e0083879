// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Counts what tasks ask the security modules for at the hook that it is put on; lets them.
#include "task.h"

struct row_key {
    u32 pid;
};

struct row_value {
    u64 asked;
};
#include "rows.h"

int asked(void *ctx)
{
    struct row_key key = {};
    struct row_value *row;

    if (!pt_is_current_traced())
        return 0;
    key.pid = bpf_get_current_pid_tgid() >> 32;
    row = pt_row(&key);
    if (row)
        row->asked++;
    return 0;
}
