// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Count calls of functions in programs of languages, and the time from call to return (LATENCY, HISTOGRAM).
#include "language.h"
#include "log2.h"
#include "task_rows.h"

#if defined(LATENCY) || defined(HISTOGRAM)
#define PT_TIMED
#endif

#define NAME_LEN  64
#define SCOPE_LEN 128

struct row_key {
#ifdef BY_FUNCTION
    u32 language;
    char scope[SCOPE_LEN];
    char function[NAME_LEN];
#endif
    PT_TASK_KEY;
#ifdef HISTOGRAM
    u32 slot;
#endif
};

struct row_value {
    u64 calls;
#ifdef PT_TIMED
    u64 total_ns;
    u64 max_ns;
#endif
    PT_TASK_NAME;
};
#include "rows.h"

// Keys are too large for the stack. Each program has its own, since another one may preempt it.
BPF_PERCPU_ARRAY(scratch, struct row_key, 2);

static __always_inline struct row_key *fill_key(void *ctx, int number)
{
    struct row_key *key = scratch.lookup(&number);

    if (!key)
        return 0;
    __builtin_memset(key, 0, sizeof(*key));
#ifdef BY_FUNCTION
    key->language = pt_language(ctx);
    pt_language_text(ctx, PT_SCOPE, key->scope, sizeof(key->scope));
    pt_language_text(ctx, PT_NAME, key->function, sizeof(key->function));
#endif
    pt_fill_task_key(key);
    return key;
}

#include "language_calls.h"

#ifdef PT_TIMED
int begins(struct pt_regs *ctx)
{
    struct pt_call_total *total = pt_call_totals();

    if (total && pt_is_current_traced())
        pt_language_call_begins(ctx, total);
    return pt_pass();
}

int ends(struct pt_regs *ctx)
{
    u64 now = bpf_ktime_get_ns(), ns;
    struct pt_call_total *total = pt_call_totals();
    struct pt_open_call call = {};
    struct row_value *row;
    struct row_key *key;

    if (!total || !pt_language_call_ends(ctx, &call, total))
        return pt_pass();
    key = fill_key(ctx, 1);
    if (!key)
        return pt_pass();
    ns = now - call.ns;
#ifdef HISTOGRAM
    key->slot = pt_bucket(ns);
#endif
    row = pt_row(key);
    if (!row)
        return pt_pass();
    row->calls++;
    pt_add_time(row, ns);
    pt_fill_task_name(row);
    return pt_pass();
}
#else
int begins(struct pt_regs *ctx)
{
    struct pt_call_total *total = pt_call_totals();
    struct row_value *row;
    struct row_key *key;

    if (!total || !pt_is_current_traced())
        return pt_pass();
    __sync_fetch_and_add(&total->calls, 1);
    key = fill_key(ctx, 0);
    row = key ? pt_row(key) : 0;
    if (!row)
        return pt_pass();
    row->calls++;
    pt_fill_task_name(row);
    return pt_pass();
}

int ends(struct pt_regs *ctx)
{
    return pt_pass();
}
#endif
