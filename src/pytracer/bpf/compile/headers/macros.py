"""Macros of the kernel's headers, which BTF does not keep: written by hand, from the kernel's ABI.

A header gets only the macros that its probe names, besides ``ALWAYS``. Numbers that differ between machines
(errno, signals, open flags) come from Python's own modules, which the C library compiled.
"""

from __future__ import annotations

import errno
import os
import re
import signal
import socket
import stat
import sys

# Written before any type. BCC includes its own uapi/linux/bpf.h next, which the guards keep empty.
PROLOGUE = """\
#ifndef __PYTRACER_KCONFIG_H
#define __PYTRACER_KCONFIG_H
#define _UAPI__LINUX_BPF_H__
#define __LINUX_BPF_H__
#define _UAPI_LINUX_TYPES_H
#define CONFIG_BPF_SYSCALL 1
#define CONFIG_64BIT 1
/* Defined by the compiler for its host, and names of kernel members. */
#undef linux
#undef unix

typedef signed char s8, __s8;
typedef unsigned char u8, __u8;
typedef short s16, __s16;
typedef unsigned short u16, __u16;
typedef int s32, __s32;
typedef unsigned int u32, __u32;
typedef long long s64, __s64;
typedef unsigned long long u64, __u64;
typedef __u16 __le16, __be16, __sum16;
typedef __u32 __le32, __be32, __wsum;
typedef __u64 __le64, __be64;
typedef _Bool bool;
enum { false = 0, true = 1 };
"""
EPILOGUE = "\n#endif\n"
# The ordinary names that PROLOGUE takes.
PROLOGUE_NAMES = frozenset(re.findall(r"\b\w+(?=[,;]| = [01])", PROLOGUE))

# Scalar typedefs given whether named or not: BCC writes them into the code it generates.
_TYPEDEFS = (
    "size_t ssize_t pid_t uid_t gid_t dev_t mode_t umode_t loff_t off_t ino_t sector_t gfp_t time64_t "
    "clockid_t dma_addr_t phys_addr_t uintptr_t ktime_t sa_family_t socklen_t blkcnt_t fmode_t "
    "__kernel_size_t __kernel_long_t __kernel_ulong_t __kernel_pid_t"
)
TYPEDEFS = frozenset(_TYPEDEFS.split())

_ALWAYS = (
    "NULL offsetof KERNEL_VERSION LINUX_VERSION_CODE PAGE_SHIFT PAGE_SIZE PAGE_MASK roundup_pow_of_two "
    "__always_inline noinline __user __kernel __iomem __rcu __force __percpu __bitwise"
)
ALWAYS = frozenset(_ALWAYS.split())

_SWAP = sys.byteorder == "little"
_ORDER = {
    name: f"#define {name}(x) " + (f"((__u{bits})__builtin_bswap{bits}(x))" if _SWAP else f"((__u{bits})(x))")
    for bits, names in {
        16: "ntohs htons __constant_ntohs __constant_htons be16_to_cpu cpu_to_be16",
        32: "ntohl htonl __constant_ntohl __constant_htonl be32_to_cpu cpu_to_be32",
        64: "be64_to_cpu cpu_to_be64",
    }.items()
    for name in names.split()
}

_FUNCTIONS = """\
offsetof(type, member) __builtin_offsetof(type, member)
container_of(ptr, type, member) ((type *)((char *)(ptr) - __builtin_offsetof(type, member)))
KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + ((c) > 255 ? 255 : (c)))
roundup_pow_of_two(n) ((n) <= 1 ? 1UL : 1UL << (64 - __builtin_clzl((unsigned long)((n) - 1) | ((n) <= 1))))
ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
BIT(n) (1UL << (n))
BIT_ULL(n) (1ULL << (n))
likely(x) __builtin_expect(!!(x), 1)
unlikely(x) __builtin_expect(!!(x), 0)
READ_ONCE(x) (*(const volatile __typeof__(x) *)&(x))
WRITE_ONCE(x, v) (*(volatile __typeof__(x) *)&(x) = (v))
barrier() __asm__ __volatile__("" ::: "memory")
min(a, b) ({ __typeof__(a) __a = (a); __typeof__(b) __b = (b); __a < __b ? __a : __b; })
max(a, b) ({ __typeof__(a) __a = (a); __typeof__(b) __b = (b); __a > __b ? __a : __b; })
min_t(type, a, b) ({ type __a = (a); type __b = (b); __a < __b ? __a : __b; })
max_t(type, a, b) ({ type __a = (a); type __b = (b); __a > __b ? __a : __b; })
IS_ERR_VALUE(x) ((unsigned long)(void *)(x) >= (unsigned long)-4095)
IS_ERR(x) IS_ERR_VALUE(x)
PTR_ERR(x) ((long)(x))
MAJOR(dev) ((unsigned int)((dev) >> 20))
MINOR(dev) ((unsigned int)((dev) & 0xfffff))
MKDEV(ma, mi) (((ma) << 20) | (mi))
S_ISLNK(m) (((m) & S_IFMT) == S_IFLNK)
S_ISREG(m) (((m) & S_IFMT) == S_IFREG)
S_ISDIR(m) (((m) & S_IFMT) == S_IFDIR)
S_ISCHR(m) (((m) & S_IFMT) == S_IFCHR)
S_ISBLK(m) (((m) & S_IFMT) == S_IFBLK)
S_ISFIFO(m) (((m) & S_IFMT) == S_IFIFO)
S_ISSOCK(m) (((m) & S_IFMT) == S_IFSOCK)
"""

_CONSTANTS = """\
NULL ((void *)0)
PAGE_MASK (~(PAGE_SIZE - 1))
__always_inline inline __attribute__((always_inline))
noinline __attribute__((noinline))
__user
__kernel
__iomem
__rcu
__force
__percpu
__bitwise
__packed __attribute__((packed))
__aligned(x) __attribute__((aligned(x)))
__maybe_unused __attribute__((unused))
U8_MAX ((u8)~0U)
U16_MAX ((u16)~0U)
U32_MAX ((u32)~0U)
U64_MAX ((u64)~0ULL)
S32_MAX ((s32)(U32_MAX >> 1))
S64_MAX ((s64)(U64_MAX >> 1))
INT_MAX ((int)(~0U >> 1))
UINT_MAX (~0U)
LONG_MAX ((long)(~0UL >> 1))
ULONG_MAX (~0UL)
NSEC_PER_USEC 1000L
NSEC_PER_MSEC 1000000L
NSEC_PER_SEC 1000000000L
USEC_PER_SEC 1000000L
MSEC_PER_SEC 1000L
MAX_ERRNO 4095
NAME_MAX 255
PATH_MAX 4096
DNAME_INLINE_LEN sizeof(((struct dentry *)0)->d_iname)
TASK_COMM_LEN 16
IFNAMSIZ 16
UNIX_PATH_MAX 108
MINORBITS 20
MINORMASK 0xfffff
ETH_ALEN 6
ETH_HLEN 14
ETH_P_ALL 0x0003
ETH_P_IP 0x0800
ETH_P_ARP 0x0806
ETH_P_8021Q 0x8100
ETH_P_IPV6 0x86DD
ETH_P_PPP_SES 0x8864
ETH_P_MPLS_UC 0x8847
ETH_P_8021AD 0x88A8
ETH_P_LLDP 0x88CC
IPPROTO_ICMPV6 58
IPPROTO_HOPOPTS 0
IPPROTO_ROUTING 43
IPPROTO_FRAGMENT 44
IPPROTO_NONE 59
IPPROTO_DSTOPTS 60
IP_MF 0x2000
IP_OFFSET 0x1FFF
VLAN_VID_MASK 0x0fff
TC_ACT_UNSPEC (-1)
TC_ACT_OK 0
TC_ACT_RECLASSIFY 1
TC_ACT_SHOT 2
TC_ACT_PIPE 3
TC_ACT_STOLEN 4
TC_ACT_REDIRECT 7
SOL_SOCKET 1
SOL_TCP 6
TASK_RUNNING 0
TASK_INTERRUPTIBLE 1
TASK_UNINTERRUPTIBLE 2
TASK_DEAD 0x80
PF_EXITING 0x00000004
PF_KTHREAD 0x00200000
CLONE_VM 0x00000100
CLONE_FS 0x00000200
CLONE_FILES 0x00000400
CLONE_VFORK 0x00004000
CLONE_THREAD 0x00010000
CLONE_NEWNS 0x00020000
CLONE_NEWPID 0x20000000
CLONE_NEWUSER 0x10000000
CLONE_NEWNET 0x40000000
FMODE_READ 0x1
FMODE_WRITE 0x2
MAP_SHARED 0x1
MAP_PRIVATE 0x2
PROT_READ 0x1
PROT_WRITE 0x2
PROT_EXEC 0x4
s6_addr in6_u.u6_addr8
s6_addr16 in6_u.u6_addr16
s6_addr32 in6_u.u6_addr32
sk_family __sk_common.skc_family
sk_state __sk_common.skc_state
sk_num __sk_common.skc_num
sk_dport __sk_common.skc_dport
sk_daddr __sk_common.skc_daddr
sk_rcv_saddr __sk_common.skc_rcv_saddr
sk_v6_daddr __sk_common.skc_v6_daddr
sk_v6_rcv_saddr __sk_common.skc_v6_rcv_saddr
sk_net __sk_common.skc_net
sk_cookie __sk_common.skc_cookie
inet_daddr sk.__sk_common.skc_daddr
inet_rcv_saddr sk.__sk_common.skc_rcv_saddr
inet_dport sk.__sk_common.skc_dport
inet_num sk.__sk_common.skc_num
"""

_NAME = re.compile(r"\w+")

# Constants of the BPF ABI that older kernels kept as macros, or that older BTF (before Linux 6.0) cut short.
BPF_CONSTANTS = {
    "BPF_ANY": 0, "BPF_NOEXIST": 1, "BPF_EXIST": 2, "BPF_F_LOCK": 4,
    "BPF_F_NO_PREALLOC": 1, "BPF_F_NO_COMMON_LRU": 2, "BPF_F_NUMA_NODE": 4, "BPF_F_RDONLY": 8,
    "BPF_F_WRONLY": 16, "BPF_F_STACK_BUILD_ID": 32,
    "BPF_F_RECOMPUTE_CSUM": 1, "BPF_F_INVALIDATE_HASH": 2,
    "BPF_F_SKIP_FIELD_MASK": 0xFF, "BPF_F_USER_STACK": 0x100, "BPF_F_FAST_STACK_CMP": 0x200,
    "BPF_F_REUSE_STACKID": 0x400, "BPF_F_USER_BUILD_ID": 0x800,
    "BPF_F_INDEX_MASK": 0xFFFFFFFF, "BPF_F_CURRENT_CPU": 0xFFFFFFFF, "BPF_F_CTXLEN_MASK": 0xFFFFF << 32,
    "BPF_RB_NO_WAKEUP": 1, "BPF_RB_FORCE_WAKEUP": 2,
    "BPF_RB_AVAIL_DATA": 0, "BPF_RB_RING_SIZE": 1, "BPF_RB_CONS_POS": 2, "BPF_RB_PROD_POS": 3,
    "BPF_LOCAL_STORAGE_GET_F_CREATE": 1, "BPF_SK_STORAGE_GET_F_CREATE": 1,
}  # fmt: skip

# Structs of the BPF ABI that BCC's helpers.h cannot do without, for kernels whose BTF has none.
FALLBACKS = {
    "bpf_stack_build_id": (
        "struct bpf_stack_build_id { int status; unsigned char build_id[20]; "
        "union { unsigned long long offset; unsigned long long ip; }; };"
    ),
}


def _table() -> dict[str, str]:
    table = dict(_ORDER)
    for line in (_FUNCTIONS + _CONSTANTS).splitlines():
        match = _NAME.match(line)
        if match:
            table[match.group()] = f"#define {line}"
    return table


_TABLE = _table()


def define(name: str, *, version: tuple[int, int, int], page_size: int) -> str | None:
    """Return the ``#define`` line of ``name`` for this kernel ``version`` and page size (bytes), or None."""
    line = _TABLE.get(name)
    if line is not None:
        return line
    if name == "LINUX_VERSION_CODE":
        return "#define LINUX_VERSION_CODE KERNEL_VERSION({}, {}, {})".format(*version)
    if name == "PAGE_SIZE":
        return f"#define PAGE_SIZE {page_size}UL"
    if name == "PAGE_SHIFT":
        return f"#define PAGE_SHIFT {page_size.bit_length() - 1}"
    value = _host_number(name)
    return None if value is None else f"#define {name} {value}"


def _host_number(name: str) -> int | None:
    """Return the value of an errno, signal, address family, open flag or mode bit on this machine."""
    for prefix, module in (
        ("E", errno), ("SIG", signal), ("AF_", socket), ("SOCK_", socket), ("O_", os), ("S_I", stat)
    ):  # fmt: skip
        value = getattr(module, name, None) if name.startswith(prefix) and name.isupper() else None
        if isinstance(value, int):
            # The C library says 0 where every file is large; the kernel's own flag is not 0.
            return None if name == "O_LARGEFILE" else int(value)
    return None
