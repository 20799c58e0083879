// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Counts the calls of tests/workloads/serials.c by the last BITS bits of their numbers. With SLOW a program
// takes its time between asking for a row and counting in it.
#include "loops.h"
#include "task.h"

struct row_key {
    u64 number;
};

struct row_value {
    u64 calls;
    u64 sum;
};
#include "rows.h"

int enter(struct bpf_raw_tracepoint_args *ctx)
{
    struct pt_regs *regs = (struct pt_regs *)ctx->args[0];
    u64 serial = pt_read(PT_REGS_PARM1(regs));
    struct row_key key = {};
    struct row_value *row;

    if (!pt_is_current_traced() || serial >> 56 != 0x5e)
        return PT_PASS;
    key.number = serial & ((1ULL << BITS) - 1);
    row = pt_row(&key);
    if (!row)
        return PT_PASS;
#ifdef SLOW
    PT_LOOP_PRAGMA
    for (int i = 0; i < PT_LOOP_LIMIT(8000, 8000, 64); i++)
        bpf_ktime_get_ns();
#endif
    row->calls++;
    row->sum += serial << 16 >> 16;
    return PT_PASS;
}
