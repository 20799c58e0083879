// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Pages of the page cache, as trace events name them: a folio, before Linux 5.16 (7b230db3b8d3) a page.
#include "members.h"
#include "read.h"
#include <linux/mm_types.h>
#include <linux/page-flags.h>

#if PT_HAS_folio__index
typedef struct folio pt_folio;
#else
typedef struct page pt_folio;
#endif

// Return the number of pages of a folio. Linux 6.1 (c3a15bff46cb) named the field of its order, 6.6 (ebc1baf5c9b4)
// moved it.
static __always_inline u64 pt_folio_pages(pt_folio *folio)
{
    u64 flags = 0;

    pt_probe_read_kernel(&flags, sizeof(flags), folio); // the first member, of whichever type
    if (!(flags & (1ULL << PG_head)))
        return 1;
#if PT_HAS_folio___folio_order
    return 1ULL << pt_read(folio->_folio_order);
#elif PT_HAS_folio___flags_1
    return 1ULL << (pt_read(folio->_flags_1) & 0xff);
#else
    struct page *second = (struct page *)folio + 1;

    return 1ULL << pt_read(second->compound_order);
#endif
}
