/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The sign of an aggregate on a packet: its id in two fields, of which one survives where the other
 * is lost. Which gets through what is at the head of podpace.bpf.c.
 */
#ifndef PODPACE_SIGNS_H
#define PODPACE_SIGNS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "aggregates.h"

/*
 * tc_index of a packet charged at an upper exit: the exit below must not book it as one that has
 * lost its sign. It is below the ids, so take_sign() leaves it.
 */
#define CHARGED_ABOVE (AGGREGATE_ID_MIN - 1)

/*
 * Writes the sign of an aggregate, or of none. tc_classid, because since Linux 6.6 the kernel
 * writes it to tc_index when a later program ends the hook with TCX_PASS.
 */
static __always_inline void write_sign(struct __sk_buff *skb, __u32 id)
{
	skb->queue_mapping = id;
	skb->tc_index = id;
	skb->tc_classid = id;
}

/* Takes the sign off a packet, so that it is charged once. Returns the aggregate's id, or 0. */
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
