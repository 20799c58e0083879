// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Arguments of the USDT probes of languages' runtimes, in one order (src/pytracer/spec/languages.py): user space writes
// for each site where they are, and constants for what the site does not say. A tracer knows no language.
//
//     int pt_language_argument(ctx, n, &value)   reads argument n; 0, or PT_USDT_MISSING, PT_USDT_UNREADABLE
//     u32 pt_language(ctx)                       the language: a column with decode="language"
//     u32 pt_language_label(ctx)                 what the probe is about: decode="language_label"
//     void pt_language_text(ctx, n, to, room)    reads the string that argument n points to, into zeroed memory of a
//                                                power of two of bytes; empty if there is none
#include "loss.h"
#include "target.h"
#include "usdt.h"
#include "user_string.h"

// ARGUMENTS of src/pytracer/spec/languages.py.
enum pt_language_argument {
    PT_LANGUAGE,
    PT_LABEL,
    PT_LABELS,
    PT_DETAIL,
    PT_NAME,
    PT_NAME_SIZE,
    PT_SCOPE,
    PT_SCOPE_SIZE,
    PT_FILE,
    PT_LINE,
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

// Argument n + 1 is the string's size, if the probe has that: then there is no NUL.
static __always_inline void pt_language_text(void *ctx, u32 n, char *to, u32 room)
{
    u64 address = pt_language_number(ctx, n), size;

    if (!address)
        return;
    if (!pt_language_argument(ctx, n + 1, &size))
        pt_read_counted(to, room, address, size);
    else
        pt_read_string(to, room, address, 0);
}
