/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The node's TCP answers to a policed packet (node.h) no earlier than that packet would have
 * departed, had it been held. podpace_police notes the time, podpace_deliver looks it up, both by
 * the pod's own port: the one part of a flow's addresses that NAT leaves alone.
 */
#ifndef PODPACE_ANSWERS_H
#define PODPACE_ANSWERS_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "departure-state.h"
#include "frames.h"

#define ANSWER_COUNT 16384 /* flows that share a place are held by each other's times */
#define ANSWER_WAIT_MAX_NS 1000000000U /* a time further ahead is damage */
#define GOLDEN_RATIO_32 0x61c88647

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, ANSWER_COUNT);
	__type(key, __u32);
	__type(value, __u64); /* monotonic ns: no answer before */
} answers SEC(".maps");

/* Length of the IP header of a TCP packet; 0 for any other, and for IPv6 extension headers. */
static __always_inline __u32 header_before_tcp(struct __sk_buff *skb)
{
	__u8 first, protocol;

	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		if (load_net_bytes(skb, 0, &first, sizeof(first)) ||
		    load_net_bytes(skb, offsetof(struct iphdr, protocol), &protocol,
				   sizeof(protocol)))
			return 0;
		return protocol == IPPROTO_TCP ? (first & 15) * 4 : 0;
	}
	if (skb->protocol != bpf_htons(ETH_P_IPV6) ||
	    load_net_bytes(skb, offsetof(struct ipv6hdr, nexthdr), &protocol, sizeof(protocol)))
		return 0;
	return protocol == IPPROTO_TCP ? sizeof(struct ipv6hdr) : 0;
}

/* The time of a flow of an aggregate; `at` is the offset of the pod's port in the TCP header. */
static __always_inline __u64 *answer_of(struct __sk_buff *skb, __u32 id, __u32 at)
{
	__u32 header = header_before_tcp(skb), place;
	__u16 port;

	if (!header || load_net_bytes(skb, header + at, &port, sizeof(port)))
		return NULL;
	place = ((id << 16 | port) * GOLDEN_RATIO_32) >> 18;
	return bpf_map_lookup_elem(&answers, &place);
}

/* At the socket: answers to this packet are to wait. */
static __always_inline void note_answer(struct __sk_buff *skb, __u32 id, __u64 not_before)
{
	__u64 *time = answer_of(skb, id, 0);

	if (time)
		WRITE_ONCE(*time, not_before);
}

/* At the host interface: until when a packet of the node to a pod has to wait; 0: not at all. */
static __always_inline __u64 answer_waits_until(struct __sk_buff *skb, __u32 id)
{
	__u64 *time = answer_of(skb, id, 2), until, ahead_ns;

	if (!time)
		return 0;
	until = READ_ONCE(*time);
	ahead_ns = departure_ahead(until, bpf_ktime_get_ns());
	return ahead_ns && ahead_ns < ANSWER_WAIT_MAX_NS ? until : 0;
}

#endif
