// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Arguments of the USDT probes of languages' runtimes, in one order (src/pytracer/spec/languages.py): user space writes
// for each site where they are, and constants for what the site does not say. A tracer knows no language.
//
//     int pt_language_argument(ctx, n, &value)   reads argument n; 0, or PT_USDT_MISSING, PT_USDT_UNREADABLE
//     u32 pt_language(ctx)                       the language: a column with decode="language"
//     u32 pt_language_label(ctx)                 what the probe is about: decode="language_label"
#include "loss.h"
#include "target.h"
#include "usdt.h"

// ARGUMENTS of src/pytracer/spec/languages.py.
enum pt_language_argument {
    PT_LANGUAGE,
    PT_LABEL,
    PT_LABELS,
    PT_DETAIL,
};

static __always_inline int pt_language_argument(void *ctx, u32 n, u64 *value)
{
    return pt_usdt_read(ctx, pt_target(ctx), n, value);
}

static __always_inline u64 pt_language_number(void *ctx, u32 n)
{
    u64 value = 0;

    if (pt_language_argument(ctx, n, &value) == PT_USDT_UNREADABLE)
        pt_lost(PT_LOSS_UNREAD);
    return value;
}

static __always_inline u32 pt_language(void *ctx)
{
    return pt_language_number(ctx, PT_LANGUAGE);
}

// A detail that the table has no label for is decoded as unknown.
static __always_inline u32 pt_language_label(void *ctx)
{
    u64 detail = pt_language_number(ctx, PT_DETAIL);

    return detail < pt_language_number(ctx, PT_LABELS) ? pt_language_number(ctx, PT_LABEL) + detail : -1;
}
