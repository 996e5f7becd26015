/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The departure time on a packet, and the clock that it is of.
 *
 * Stamp and clock type are set together. A plain write to skb->tstamp leaves the type as it was:
 * since Linux 7 fq warns of stamps without one, and converts the time where a socket asked for
 * CLOCK_TAI (SO_TXTIME). Older kernels clear a stamp without a type, in bridges for example, which
 * take it for a receive timestamp.
 */
#ifndef PODPACE_STAMPS_H
#define PODPACE_STAMPS_H

#include <linux/bpf.h>
#include <linux/pkt_sched.h>
#include <bpf/bpf_helpers.h>

#include "departure.h"

/* ns: July 2006 by a wall clock, 36 years after boot by the monotonic one. */
#define WALL_CLOCK_MIN (1ULL << 60)

/*
 * Stamps a charged packet, even one that departs at once: the stamp that it has may be the time at
 * which its socket sent it, and fq, which is late now and then, would let it overtake packets of
 * its flow that have been due since.
 *
 * What left the pod as IP has its clock from TCP or mark_monotonic(), whatever it is by now. Of
 * other frames the kernel accepts no clock, so they get no stamp: they are charged, and dropped at
 * the horizon, but do not wait.
 */
static __always_inline void stamp(struct __sk_buff *skb, __u64 departure_at)
{
	/* Or clang computes the address of the field, which the verifier refuses. */
	barrier_var(skb);
	if (skb->tstamp_type == BPF_SKB_TSTAMP_DELIVERY_MONO)
		skb->tstamp = departure_at;
	else
		bpf_skb_set_tstamp(skb, departure_at, BPF_SKB_TSTAMP_DELIVERY_MONO);
}

/*
 * Marks a packet's time as monotonic while the kernel accepts that: at its exit it may be no IP any
 * more (MPLS). The time is the frame's number, long past and so none to fq and to the departure
 * step. A time that a socket requested stays, unless it is past as well (TCP's is when it sent the
 * packet), by either clock: otherwise a pod could choose the number by CLOCK_TAI.
 */
static __always_inline void mark_monotonic(struct __sk_buff *skb, __u32 frame)
{
	barrier_var(skb);
	if (!skb->tstamp_type)
		bpf_skb_set_tstamp(skb, frame, BPF_SKB_TSTAMP_DELIVERY_MONO);
	else if (skb->tstamp <= bpf_ktime_get_ns())
		skb->tstamp = frame;
}

/*
 * Stamps a packet that a cap holds, and lowers TC_PRIO_CONTROL, which fq sends at once whatever the
 * stamp (q->internal in net/sched/sch_fq.c): a rule of the node that sets it (nft meta priority,
 * skbedit) would lift the cap. The next lower priority waits, and has the same band since fq has
 * bands (Linux 6.7). The upper bits, a class, stay.
 */
static __always_inline void hold_until(struct __sk_buff *skb, __u64 departure_at)
{
	if ((skb->priority & TC_PRIO_MAX) == TC_PRIO_CONTROL)
		skb->priority ^= TC_PRIO_CONTROL ^ TC_PRIO_INTERACTIVE;
	stamp(skb, departure_at);
}

/*
 * A packet that no cap holds keeps the time that its socket requested (SO_TXTIME), but meets our
 * fq. Up to Linux 6.18 fq takes a time of CLOCK_TAI for a monotonic one, 50 years ahead, and drops
 * the packet, which the qdisc before it would have sent. So such a time is converted to the
 * monotonic clock, as fq does itself since Linux 7. It is known by its value: on Linux 6.1 a packet
 * does not tell its clock.
 */
static __always_inline void convert_tai(struct __sk_buff *skb)
{
	__u64 asked_at = skb->tstamp;

	if (asked_at >= WALL_CLOCK_MIN)
		stamp(skb, bpf_ktime_get_ns() + departure_ahead(asked_at, bpf_ktime_get_tai_ns()));
}

/*
 * A forwarded packet without a sign. Multicast and broadcast were charged and have their departure
 * time: as in hold_until() no priority set behind the classifier takes that away.
 */
static __always_inline void pass_forwarded(struct __sk_buff *skb)
{
	if ((skb->priority & TC_PRIO_MAX) == TC_PRIO_CONTROL &&
	    skb->tstamp_type == BPF_SKB_TSTAMP_DELIVERY_MONO)
		skb->priority ^= TC_PRIO_CONTROL ^ TC_PRIO_INTERACTIVE;
}

/* 0: no departure time, the packet is not held. */
static __always_inline void stamp_or_keep(struct __sk_buff *skb, __u64 departure_at)
{
	if (departure_at)
		hold_until(skb, departure_at);
	else
		convert_tai(skb);
}

#endif
