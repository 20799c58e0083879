// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// The protocol and the type of a socket. Before Linux 5.6 (bf9765145b85) both are bit-fields, which have no address: the
// word that holds them is read.
#include "read.h"
#include <net/sock.h>

// With types from BTF the macro is generated.
#ifdef SK_FL_PROTO_SHIFT
#define PT_HAS_sock____sk_flags_offset 1
#endif

#if PT_HAS_sock____sk_flags_offset
#define pt_socket_protocol(sk) ((u16)(pt_read((sk)->__sk_flags_offset[0]) >> 8 & 0xff))
#define pt_socket_type(sk)     ((u16)(pt_read((sk)->__sk_flags_offset[0]) >> 16))
#else
#define pt_socket_protocol(sk) pt_read((sk)->sk_protocol)
#define pt_socket_type(sk)     pt_read((sk)->sk_type)
#endif
