/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What a BPF program needs besides linux/bpf.h: sections, map definitions and the few kernel
 * helpers that podpace calls. The numbers of the helpers are the kernel's (enum bpf_func_id).
 */
#ifndef PODPACE_HELPERS_H
#define PODPACE_HELPERS_H

#include <linux/bpf.h>

#define SEC(name) __attribute__((section(name), used))
#define inline_always static inline __attribute__((always_inline))

/* Attributes of a map definition, read back from the BTF of the section .maps. */
#define __uint(name, value) int(*name)[value]
#define __type(name, value) typeof(value) *name
#define __array(name, value) typeof(value) *name[]

/* Flags of a map whose entries the helper makes as they are needed, and no program may change. */
#define ENTRIES_OF_THE_HELPER (BPF_F_NO_PREALLOC | BPF_F_RDONLY_PROG)

static void *(*const bpf_map_lookup_elem)(void *map,
					  const void *key) = (void *)BPF_FUNC_map_lookup_elem;
static long (*const bpf_map_update_elem)(void *map, const void *key, const void *value,
					 __u64 flags) = (void *)BPF_FUNC_map_update_elem;
static __u64 (*const bpf_ktime_get_ns)(void) = (void *)BPF_FUNC_ktime_get_ns;
static __u64 (*const bpf_ktime_get_tai_ns)(void) = (void *)BPF_FUNC_ktime_get_tai_ns;
static __u32 (*const bpf_get_smp_processor_id)(void) = (void *)BPF_FUNC_get_smp_processor_id;
static __u32 (*const bpf_get_hash_recalc)(struct __sk_buff *skb) = (void *)BPF_FUNC_get_hash_recalc;
static long (*const bpf_skb_ecn_set_ce)(struct __sk_buff *skb) = (void *)BPF_FUNC_skb_ecn_set_ce;
static long (*const bpf_tail_call)(void *ctx, void *programs,
				   __u32 index) = (void *)BPF_FUNC_tail_call;
static long (*const bpf_skb_set_tstamp)(struct __sk_buff *skb, __u64 tstamp,
					__u32 tstamp_type) = (void *)BPF_FUNC_skb_set_tstamp;
static long (*const bpf_skb_load_bytes_relative)(const void *skb, __u32 offset, void *to, __u32 len,
						 __u32 start_header) = (void *)
	BPF_FUNC_skb_load_bytes_relative;
static long (*const bpf_skb_store_bytes)(struct __sk_buff *skb, __u32 offset, const void *from,
					 __u32 len, __u64 flags) = (void *)BPF_FUNC_skb_store_bytes;
static long (*const bpf_skb_get_tunnel_key)(struct __sk_buff *skb, struct bpf_tunnel_key *key,
					    __u32 size,
					    __u64 flags) = (void *)BPF_FUNC_skb_get_tunnel_key;
static long (*const bpf_skb_get_tunnel_opt)(struct __sk_buff *skb, void *to,
					    __u32 size) = (void *)BPF_FUNC_skb_get_tunnel_opt;
static long (*const bpf_fib_lookup)(void *ctx, struct bpf_fib_lookup *params, int params_len,
				    __u32 flags) = (void *)BPF_FUNC_fib_lookup;
static long (*const bpf_redirect_neigh)(__u32 ifindex, struct bpf_redir_neigh *params,
					int params_len,
					__u64 flags) = (void *)BPF_FUNC_redirect_neigh;
static long (*const bpf_redirect_peer)(__u32 ifindex, __u64 flags) = (void *)BPF_FUNC_redirect_peer;
static long (*const bpf_probe_read_kernel)(void *to, __u32 len, const void *address) = (void *)
	BPF_FUNC_probe_read_kernel;
static long (*const bpf_spin_lock)(struct bpf_spin_lock *lock) = (void *)BPF_FUNC_spin_lock;
static long (*const bpf_spin_unlock)(struct bpf_spin_lock *lock) = (void *)BPF_FUNC_spin_unlock;

/* Ethernet protocol numbers as __sk_buff->protocol has them: in network byte order. */
#define ETHER_TYPE_IPV4 __builtin_bswap16(0x0800)
#define ETHER_TYPE_IPV6 __builtin_bswap16(0x86dd)

/* __sk_buff->pkt_type: whom the link address is of (PACKET_HOST and so on of linux/if_packet.h). */
#define PACKET_TO_HOST 0
#define PACKET_TO_ALL 1
#define PACKET_TO_GROUP 2

#endif
