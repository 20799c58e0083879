// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Count objects that programs of languages allocate, by kind and class.
#include "language.h"
#include "task_rows.h"

struct row_key {
#ifdef BY_CLASS
    u32 language;
    u32 allocated;
    char scope[128];
#endif
    PT_TASK_KEY;
};

struct row_value {
    u64 objects;
    PT_TASK_NAME;
};
#include "rows.h"

// A key is too large for the stack, beside what reading arguments takes.
BPF_PERCPU_ARRAY(scratch, struct row_key, 1);

int allocates(struct pt_regs *ctx)
{
    struct row_value *row;
    struct row_key *key;
    int zero = 0;

    key = scratch.lookup(&zero);
    if (!key || !pt_is_current_traced())
        return pt_pass();
    __builtin_memset(key, 0, sizeof(*key));
#ifdef BY_CLASS
    key->language = pt_language(ctx);
    key->allocated = pt_language_label(ctx);
    pt_language_text(ctx, PT_SCOPE, key->scope, sizeof(key->scope));
#endif
    pt_fill_task_key(key);
    row = pt_row(key);
    if (!row)
        return pt_pass();
    row->objects++;
    pt_fill_task_name(row);
    return pt_pass();
}
