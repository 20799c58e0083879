// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Count the values of expressions at functions, trace events and USDT probes; or make histograms of them.
// generated_specs.h is generated for each run (src/pytracer/lang/codegen.py).
#include "probe_specs.h"
#include "log2.h"

struct row_key {
    u32 spec;
#ifdef HISTOGRAM
    u32 slot;
#else
    struct pt_results results;
#endif
};

struct row_value {
    u64 count;
};
#include "rows.h"
#include "generated_specs.h"

#ifdef HISTOGRAM
static __always_inline struct row_value *row_of(void *ctx, u32 program, u32 target, struct pt_call *call)
{
    struct row_key key = {.spec = pt_spec_number(program)};
    struct pt_results results = {};

    pt_spec_evaluate(ctx, program, target, call, &results);
    if (results.unread) {
        pt_lost(PT_LOSS_UNREAD);
        return 0;
    }
    if (pt_spec_is_signed(program) && (s64)results.numbers[0] < 0) {
        pt_lost(PT_LOSS_NEGATIVE);
        return 0;
    }
    key.slot = pt_bucket(results.numbers[0]);
    return pt_row(&key);
}
#else
// Keys may be too large for the stack. Each program has a buffer of its own, since another program may preempt it. A key
// is zeroed first, so that the bytes after a string's NUL are equal.
BPF_PERCPU_ARRAY(keys, struct row_key, PT_SPEC_PROGRAMS);
BPF_ARRAY(nothing, struct row_key, 1);

static __always_inline struct row_value *row_of(void *ctx, u32 program, u32 target, struct pt_call *call)
{
    u32 first = 0, number = program; // with its address taken, "program" would be no constant to the compiler
    struct row_key *key = keys.lookup(&number), *zero = nothing.lookup(&first);

    if (!key || !zero)
        return 0;
    pt_probe_read_kernel(key, sizeof(*key), zero);
    key->spec = pt_spec_number(program);
    pt_spec_evaluate(ctx, program, target, call, &key->results);
    return pt_row(key);
}
#endif

static __always_inline int pt_on_spec(void *ctx, u32 program)
{
    u32 target = pt_target(ctx);
    struct pt_call call = {};
    struct row_value *row;

    if (pt_spec_skips_return(ctx, program, &call) || !pt_is_current_traced())
        return pt_pass();
    if (!pt_spec_matches(ctx, program, target, &call))
        return pt_pass();
    row = row_of(ctx, program, target, &call);
    if (row)
        row->count++;
    return pt_pass();
}
