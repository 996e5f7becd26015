/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What the node's kernel takes from a pod without running a socket's program: ICMP, and what a
 * WireGuard endpoint decrypts, which clears every field that can carry a sign. Neither
 * podpace_police nor an exit sees it. NAT changes the addresses of neither, so the classifier asks
 * the node's routes whether a packet is the node's, and polices it there. Other tunnels leave
 * tc_index alone: what they decapsulate is charged where it leaves.
 *
 * Fragments no longer say what they are of and are taken here as well. Only the horizon drops them,
 * as at an exit: a datagram of many may be longer than policing tolerates.
 */
#ifndef PODPACE_LOCAL_H
#define PODPACE_LOCAL_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "frames.h"
#include "node.h"
#include "routing.h"

/* The first four bytes of a WireGuard transport data message (its paper, section 5.4.6). */
#define WIREGUARD_DATA 4

/* Bits: only what is KERNEL is policed, by a product and not a branch. */
enum taker {
	SOCKET_OR_EXIT, /* charged there */
	KERNEL,
	KERNEL_IN_PARTS, /* perhaps, once it is reassembled */
	MANY = 4, /* broadcast and multicast: the ports of a bridge */
};

/* A UDP datagram; `at` is the offset of its header. */
static __always_inline enum taker taker_of_datagram(struct __sk_buff *skb, __u32 at)
{
	__u32 type = 0;

	load_net_bytes(skb, at + sizeof(struct udphdr), &type, sizeof(type));
	return type == WIREGUARD_DATA ? KERNEL : SOCKET_OR_EXIT;
}

static __always_inline enum taker taker_of_ipv4(struct __sk_buff *skb)
{
	struct {
		__u8 version_ihl, tos;
		__u16 total_length, id, fragment;
		__u8 ttl, protocol;
	} ip = {};

	load_net_bytes(skb, 0, &ip, sizeof(ip));
	if (ip.fragment & IPV4_FRAGMENT)
		return KERNEL_IN_PARTS;
	if (ip.protocol == IPPROTO_UDP)
		return taker_of_datagram(skb, (ip.version_ihl & 15) * 4);
	return ip.protocol == IPPROTO_ICMP ? KERNEL : SOCKET_OR_EXIT;
}

static __always_inline enum taker taker_of_ipv6(struct __sk_buff *skb)
{
	__u8 protocol = 0;

	load_net_bytes(skb, offsetof(struct ipv6hdr, nexthdr), &protocol, sizeof(protocol));
	switch (protocol) {
	case IPPROTO_UDP:
		return taker_of_datagram(skb, sizeof(struct ipv6hdr));
	case IPPROTO_ICMPV6:
		return KERNEL;
	/* Whatever follows these. */
	case IPPROTO_HOPOPTS:
	case IPPROTO_ROUTING:
	case IPPROTO_FRAGMENT:
	case IPPROTO_DSTOPTS:
	case IPPROTO_MH:
		return KERNEL_IN_PARTS;
	}
	return SOCKET_OR_EXIT;
}

/* Whether the node's routes deliver a packet here, or it does not forward: then it is its own. */
static __always_inline int is_delivered_here(struct __sk_buff *skb)
{
	struct bpf_fib_lookup fib = { .ifindex = skb->ifindex };
	long answer;

	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		struct iphdr ip = {};

		load_net_bytes(skb, 0, &ip, sizeof(ip));
		fib.family = AF_INET;
		fib.tos = ip.tos;
		fib.ipv4_src = ip.saddr;
		fib.ipv4_dst = ip.daddr;
	} else {
		struct ipv6_header ip = {};

		load_net_bytes(skb, 0, &ip, sizeof(ip));
		fib.family = AF_INET6;
		__builtin_memcpy(fib.ipv6_src, ip.source, 16);
		__builtin_memcpy(fib.ipv6_dst, ip.destination, 16);
	}
	answer = bpf_fib_lookup(skb, &fib, sizeof(fib), 0);
	return answer == BPF_FIB_LKUP_RET_NOT_FWDED ||
	       (answer == BPF_FIB_LKUP_RET_FWD_DISABLED && skb->pkt_type == PACKET_HOST);
}

/* Who takes a packet that comes up from a pod. The kernel only if caps include the node. */
static __always_inline enum taker taker_of(struct __sk_buff *skb)
{
	const struct node_place *place;
	enum taker taker;
	__u32 key = 0;

	if (skb->pkt_type == PACKET_BROADCAST || skb->pkt_type == PACKET_MULTICAST)
		return MANY;
	if (skb->protocol == bpf_htons(ETH_P_IP))
		taker = taker_of_ipv4(skb);
	else if (skb->protocol == bpf_htons(ETH_P_IPV6))
		taker = taker_of_ipv6(skb);
	else
		return SOCKET_OR_EXIT;
	if (taker == SOCKET_OR_EXIT)
		return SOCKET_OR_EXIT;
	place = bpf_map_lookup_elem(&node_place, &key);
	return place && place->netns_cookie && is_delivered_here(skb) ? taker : SOCKET_OR_EXIT;
}

#endif
