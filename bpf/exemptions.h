/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Addresses whose traffic is neither delayed nor charged: the node's list, and those of aggregates
 * that have their own. The longest prefix of both lists decides; of two of the same length, the
 * aggregate's.
 */
#ifndef PODPACE_EXEMPTIONS_H
#define PODPACE_EXEMPTIONS_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "frames.h"

#define EXEMPTION_COUNT (1 << 21)

/* Bits of aggregate_config.exemptions: the lists that have entries. */
#define EXEMPT_OWN 1
#define EXEMPT_NODE 2

/* A prefix in the list of an aggregate or of the node. IPv4 is mapped: ::ffff:a.b.c.d. */
struct exemption_key {
	__u32 prefix_len; /* in bits, of all that follows */
	__u32 list; /* id of the aggregate; 0: the node's */
	__u8 address[16];
};

struct exemption {
	__u32 prefix_len; /* of the key */
	__u32 is_exempt; /* 0: an exception from a shorter prefix */
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_RDONLY_PROG);
	__uint(max_entries, EXEMPTION_COUNT);
	__type(key, struct exemption_key);
	__type(value, struct exemption);
} exemptions SEC(".maps");

/* The end of a packet that is not the pod. */
enum far_end { DESTINATION, SOURCE };

/* Reads the address of an end. Returns 0 for a packet without one. */
static __always_inline int read_address(struct __sk_buff *skb, enum far_end end, __u8 address[16])
{
	if (skb->protocol == bpf_htons(ETH_P_IPV6))
		return !load_net_bytes(skb,
				       end == SOURCE ? offsetof(struct ipv6hdr, saddr)
						     : offsetof(struct ipv6hdr, daddr),
				       address, 16);
	if (skb->protocol != bpf_htons(ETH_P_IP))
		return 0;
	__builtin_memset(address, 0, 10);
	address[10] = 0xff;
	address[11] = 0xff;
	return !load_net_bytes(
		skb, end == SOURCE ? offsetof(struct iphdr, saddr) : offsetof(struct iphdr, daddr),
		address + 12, 4);
}

/* Whether a packet's far end is exempt from the cap of an aggregate with these lists. */
static __always_inline int is_exempt(struct __sk_buff *skb, __u32 id, __u32 lists, enum far_end end)
{
	struct exemption_key key = { .prefix_len = 32 + 128 };
	const struct exemption *own = NULL, *node = NULL;

	if (!read_address(skb, end, key.address))
		return 0;
	if (lists & EXEMPT_OWN) {
		key.list = id;
		own = bpf_map_lookup_elem(&exemptions, &key);
	}
	if (lists & EXEMPT_NODE) {
		key.list = 0;
		node = bpf_map_lookup_elem(&exemptions, &key);
	}
	if (own && (!node || own->prefix_len >= node->prefix_len))
		return own->is_exempt;
	return node && node->is_exempt;
}

#endif
