// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// The key of rows of TCP connections. Include tcp.h before it. With PT_SLOTS the rows have buckets. The tracer that
// includes this defines struct row_value, and then includes rows.h.
struct row_key {
#ifdef BY_PID
    u32 pid;
#endif
#ifdef BY_NETNS
    u32 netns;
#endif
#ifdef BY_PEER
    u32 dport;
#endif
#ifdef BY_LOCAL
    u32 sport;
    u8 saddr[16];
#endif
#ifdef PT_SLOTS
    u32 slot;
#endif
#if defined(BY_PEER) || defined(BY_ADDRESS)
    u8 daddr[16];
#endif
#ifdef BY_PID
    char comm[PT_COMM_LEN];
#endif
};

// Fill in the key, including its padding; "comm" is the owner's name.
static __always_inline void pt_fill_row_key(struct row_key *key, struct sock *sk, u32 pid, char *comm)
{
    u8 source[16], target[16];

    __builtin_memset(key, 0, sizeof(*key));
    pt_addresses(sk, source, target);
#ifdef BY_PID
    key->pid = pid;
    __builtin_memcpy(key->comm, comm, sizeof(key->comm));
#endif
#ifdef BY_NETNS
    key->netns = pt_netns_of(sk);
#endif
#if defined(BY_PEER) || defined(BY_ADDRESS)
    __builtin_memcpy(key->daddr, target, sizeof(key->daddr));
#endif
#ifdef BY_PEER
    key->dport = pt_target_port(sk);
#endif
#ifdef BY_LOCAL
    __builtin_memcpy(key->saddr, source, sizeof(key->saddr));
    key->sport = pt_source_port(sk);
#endif
}
