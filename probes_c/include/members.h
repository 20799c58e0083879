// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// PT_HAS_STRUCT__MEMBER: 1 if this kernel's STRUCT has that member. With types from BTF these macros are generated; with
// packaged headers they follow from the version. Structs that no header has, such as those of io_uring's operations, are
// not here: their macros are 0.
#ifdef PT_PACKAGED_HEADERS
#include <linux/version.h>

#define PT_HAS_address_space_operations__read_folio                                                          \
    (LINUX_VERSION_CODE >= KERNEL_VERSION(5, 19, 0)) // 5efe7448a142
#define PT_HAS_address_space_operations__readahead                                                           \
    (LINUX_VERSION_CODE >= KERNEL_VERSION(5, 8, 0)) // 8151b4c8bee4
#define PT_HAS_dentry__d_u        (LINUX_VERSION_CODE < KERNEL_VERSION(7, 2, 0))
#define PT_HAS_folio__index       (LINUX_VERSION_CODE >= KERNEL_VERSION(5, 16, 0)) // 7b230db3b8d3
#define PT_HAS_inode__i_ctime_sec (LINUX_VERSION_CODE >= KERNEL_VERSION(6, 11, 0)) // 3aa63a569c64
#define PT_HAS_inode____i_ctime                                                                              \
    (LINUX_VERSION_CODE >= KERNEL_VERSION(6, 6, 0) && LINUX_VERSION_CODE < KERNEL_VERSION(6, 11, 0))
// In fs/io_uring.c before Linux 6.0.
#define PT_HAS_io_kiocb__file   (LINUX_VERSION_CODE >= KERNEL_VERSION(6, 0, 0))
#define PT_HAS_io_kiocb__opcode PT_HAS_io_kiocb__file
#define PT_HAS_mutex__owner     1
// Before Linux 5.3 (64489e78004c, 94a9717b3c40) both of these meant something else.
#define PT_HAS_rw_semaphore__count (LINUX_VERSION_CODE >= KERNEL_VERSION(5, 3, 0))
#define PT_HAS_rw_semaphore__owner (LINUX_VERSION_CODE >= KERNEL_VERSION(5, 3, 0))
// 502c87d65564
#define PT_HAS_trace_event_raw_io_uring_complete__req   (LINUX_VERSION_CODE >= KERNEL_VERSION(5, 18, 0))
#define PT_HAS_trace_event_raw_io_uring_submit_sqe__req PT_HAS_trace_event_raw_io_uring_complete__req
#endif
