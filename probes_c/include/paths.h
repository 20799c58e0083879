// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Filters paths by --path, a set of prefixes; an entry that ends with a NUL matches a whole path. A record has
// "u32 bits" just before its path, and both together are the key, so that nothing is copied.
#define PT_PATH_BYTES                                                                                        \
    252 // compared bytes of a path: keys of tries have at most 256 bytes (LPM_DATA_SIZE_MAX)

struct pt_path {
    u32 bits;
    char path[PT_PATH_BYTES];
};

#ifdef ONLY_PATHS
BPF_LPM_TRIE(pt_paths, struct pt_path, u8, 4096);
#endif

// Return 1 if --path selects the path, which has "size" bytes after "bits".
static __always_inline int pt_path_is_wanted(u32 *bits, u64 size)
{
#ifdef ONLY_PATHS
    u8 *match;

    *bits = 8 * (size < PT_PATH_BYTES ? size : PT_PATH_BYTES);
    match = pt_paths.lookup((struct pt_path *)bits);
#ifdef ONLY_PATHS_EXCEPT
    return !match;
#else
    return !!match;
#endif
#else
    return 1;
#endif
}
