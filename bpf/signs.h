/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The sign of an aggregate on a packet: two fields, of which one gets through where the other is
 * lost.
 */
#ifndef PODPACE_SIGNS_H
#define PODPACE_SIGNS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "aggregates.h"

/*
 * tc_index of a packet that was charged at an upper exit: the exit below finds no id on it, and
 * must not count it among those that have lost theirs. It lies below the ids, so take_sign() leaves
 * it.
 */
#define CHARGED_ABOVE (AGGREGATE_ID_MIN - 1)

/*
 * Writes the sign of an aggregate, or of none, on a packet. Since Linux 6.6 a program behind this
 * one that ends the hook with TCX_PASS has tc_classid written to tc_index.
 */
static __always_inline void write_sign(struct __sk_buff *skb, __u32 id)
{
	skb->queue_mapping = id;
	skb->tc_index = id;
	skb->tc_classid = id;
}

/*
 * Takes the sign off a packet, so that it is charged once. Returns the aggregate, or 0 for a packet
 * of nobody's.
 */
static __always_inline __u32 take_sign(struct __sk_buff *skb)
{
	__u32 id = skb->queue_mapping;

	if (is_aggregate(id)) {
		skb->queue_mapping = 0;
	} else {
		id = skb->tc_index;
		if (!is_aggregate(id))
			return 0;
	}
	skb->tc_index = 0;
	skb->tc_classid = 0;
	return id;
}

#endif
