/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What the headers of a packet say, from the network header on, whatever link header it has. */
#ifndef PODPACE_FRAMES_H
#define PODPACE_FRAMES_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define IPV4_FRAGMENT bpf_htons(0x3fff) /* more to come, or not the first */

/* Reads from an offset into the network header. Returns 0, or an error. */
static __always_inline long load_net_bytes(const struct __sk_buff *skb, __u32 offset, void *to,
					   __u32 len)
{
	return bpf_skb_load_bytes_relative(skb, offset, to, len, BPF_HDR_START_NET);
}

/* Whether the packet may be marked CE instead of dropped: ECT(0), ECT(1) or CE. */
static __always_inline __u32 is_ecn_capable(struct __sk_buff *skb)
{
	__u8 second;

	if (load_net_bytes(skb, 1, &second, sizeof(second)))
		return 0;
	if (skb->protocol == bpf_htons(ETH_P_IP))
		return second & 3;
	if (skb->protocol == bpf_htons(ETH_P_IPV6))
		return second >> 4 & 3;
	return 0;
}

/* Length of network and transport header, which each segment has; 0 if they cannot be read. */
static __always_inline __u32 length_of_headers(struct __sk_buff *skb)
{
	__u32 network_header = sizeof(struct ipv6hdr);
	__u8 first[10], data_offset = 0, protocol;

	if (load_net_bytes(skb, 0, first, sizeof(first)))
		return 0;
	protocol = first[6];
	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		network_header = (first[0] & 15) * 4;
		protocol = first[9];
	}
	if (protocol != IPPROTO_TCP)
		return network_header + sizeof(struct udphdr);
	load_net_bytes(skb, network_header + 12, &data_offset, 1);
	return network_header + (data_offset >> 4) * 4;
}

/* Bytes of a packet's frames, each with its headers, before a qdisc has set skb->wire_len. */
static __always_inline __u32 length_of_frames(struct __sk_buff *skb)
{
	__u32 segments = skb->gso_segs;

	if (segments < 2)
		return skb->len;
	return skb->len + (segments - 1) * (ETH_HLEN + length_of_headers(skb));
}

#endif
