// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Mount namespaces, by the inode number that /proc/PID/ns/mnt shows.
#include "read.h"
#include <linux/nsproxy.h>

#ifdef PT_PACKAGED_HEADERS
#include <linux/ns_common.h>
#include <linux/version.h>

// Private to fs/mount.h; Linux 5.11 (1a7b8969e664) moved the count behind ns.
struct pt_mnt_namespace {
#if LINUX_VERSION_CODE < KERNEL_VERSION(5, 11, 0)
    atomic_t count;
#endif
    struct ns_common ns;
};
#else
#define pt_mnt_namespace mnt_namespace
#endif

// Returns 0 for an exiting task, which has none.
static __always_inline u32 pt_mntns_of(struct nsproxy *nsproxy)
{
    struct pt_mnt_namespace *mnt_ns = (struct pt_mnt_namespace *)pt_read(nsproxy->mnt_ns);

    return pt_read(mnt_ns->ns.inum);
}
