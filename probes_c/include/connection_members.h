// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// The event members that identify a connection and its owner. Include owners.h before it.
#define PT_CONNECTION_MEMBERS                                                                                \
    u32 pid;                                                                                                 \
    u32 netns;                                                                                               \
    u32 sport;                                                                                               \
    u32 dport;                                                                                               \
    u8 saddr[16];                                                                                            \
    u8 daddr[16];                                                                                            \
    char comm[PT_COMM_LEN]

#define pt_fill_connection(event, sk, connection)                                                            \
    ({                                                                                                       \
        (event)->pid = (connection)->pid;                                                                    \
        (event)->netns = pt_netns_of(sk);                                                                    \
        (event)->sport = pt_source_port(sk);                                                                 \
        (event)->dport = pt_target_port(sk);                                                                 \
        pt_addresses(sk, (event)->saddr, (event)->daddr);                                                    \
        __builtin_memcpy((event)->comm, (connection)->comm, PT_COMM_LEN);                                    \
    })
