/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * One frame, one charge: a frame of which the node makes several packets is charged once. A bridge
 * floods frames to addresses that it does not know, an operator copies packets by TEE or a mirror,
 * and each copy has the sign of the original.
 *
 * So the classifier numbers frames. The number is in the packet's time, which requests no departure
 * yet, as a time long past. The kernel makes the copies of a packet one after the other, on one
 * CPU: an exit that meets the number of the packet that its aggregate was charged for last gives
 * the copy the verdict and the departure of that one.
 *
 * What must hold: a pod cannot choose the number. Fragments of a packet share its number and are no
 * copies, nor are the segments of a merged packet that the node has split: the number says how many
 * segments there were.
 */
#ifndef PODPACE_COPIES_H
#define PODPACE_COPIES_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "frames.h"

/* The number, from the top: CPU, count, segments. All of them are in the first 1.1 s after boot. */
#define FRAME_SEGMENT_BITS 6
#define FRAME_COUNT_BITS 16
#define FRAME_PROCESSOR_BITS 8
#define FRAME_BITS (FRAME_SEGMENT_BITS + FRAME_COUNT_BITS + FRAME_PROCESSOR_BITS)
#define FRAME_MIN (1U << FRAME_SEGMENT_BITS)
#define NO_FRAME 1 /* a time long past that is no number */
#define FRAME_SEGMENTS(segments) ((segments) & (FRAME_MIN - 1))

/* `count` goes up with each frame on this CPU; 0: not counted. */
static __always_inline __u32 number_of_frame(__u32 count, __u32 segments)
{
	__u32 processor = bpf_get_smp_processor_id() & ((1U << FRAME_PROCESSOR_BITS) - 1);
	__u32 number = processor << FRAME_COUNT_BITS | (count & ((1U << FRAME_COUNT_BITS) - 1));

	return !count ? NO_FRAME : number << FRAME_SEGMENT_BITS | FRAME_SEGMENTS(segments);
}

/* Whether a packet is neither a fragment nor anything in which one could hide. */
static __always_inline int is_whole(struct __sk_buff *skb)
{
	__u16 fragment = 0;
	__u8 protocol = 0;

	if (skb->protocol == bpf_htons(ETH_P_IP))
		return !load_net_bytes(skb, offsetof(struct iphdr, frag_off), &fragment,
				       sizeof(fragment)) &&
		       !(fragment & IPV4_FRAGMENT);
	if (skb->protocol != bpf_htons(ETH_P_IPV6) ||
	    load_net_bytes(skb, offsetof(struct ipv6hdr, nexthdr), &protocol, sizeof(protocol)))
		return 0;
	return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_ICMPV6;
}

#endif
