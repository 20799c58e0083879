// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// How often each value occurs of what is asked of functions, trace events and probes in programs; or histograms.
// asked.h is written for each run (src/pytracer/ask).
#include "ask.h"
#include "log2.h"

struct row_key {
    u32 question;
#ifdef HISTOGRAM
    u32 slot;
#else
    struct pt_answers answers;
#endif
};

struct row_value {
    u64 count;
};
#include "rows.h"
#include "asked.h"

#ifdef HISTOGRAM
static __always_inline struct row_value *row_of(void *ctx, u32 which, u32 target, struct pt_call *call)
{
    struct row_key key = {.question = pt_question(which)};
    struct pt_answers answers = {};

    pt_answer(ctx, which, target, call, &answers);
    if (answers.missing) {
        pt_lost(PT_LOSS_UNREAD);
        return 0;
    }
    if (pt_has_sign(which) && (s64)answers.numbers[0] < 0) {
        pt_lost(PT_LOSS_NEGATIVE);
        return 0;
    }
    key.slot = pt_bucket(answers.numbers[0]);
    return pt_row(&key);
}
#else
// Keys may be too large for the stack: each program has a place to make one at, since another one may be run in
// between. A key is all zeros where there is nothing, behind the ends of texts, too.
BPF_PERCPU_ARRAY(keys, struct row_key, PT_ASK_PROGRAMS);
BPF_ARRAY(nothing, struct row_key, 1);

static __always_inline struct row_value *row_of(void *ctx, u32 which, u32 target, struct pt_call *call)
{
    u32 first = 0, own = which; // of "which" itself no address is taken: what is not asked is to be left out
    struct row_key *key = keys.lookup(&own), *zero = nothing.lookup(&first);

    if (!key || !zero)
        return 0;
    pt_probe_read_kernel(key, sizeof(*key), zero);
    key->question = pt_question(which);
    pt_answer(ctx, which, target, call, &key->answers);
    return pt_row(key);
}
#endif

static __always_inline int pt_asked(void *ctx, u32 which)
{
    u32 target = pt_target(ctx);
    struct pt_call call = {};
    struct row_value *row;

    if (pt_unseen(ctx, which, &call) || pt_task() != PT_YES)
        return pt_pass();
    if (!pt_wanted(ctx, which, target, &call))
        return pt_pass();
    row = row_of(ctx, which, target, &call);
    if (row)
        row->count++;
    return pt_pass();
}
