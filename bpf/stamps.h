/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The departure time on a packet, and the clock that it is of. */
#ifndef PODPACE_STAMPS_H
#define PODPACE_STAMPS_H

#include <linux/bpf.h>
#include <linux/pkt_sched.h>
#include <bpf/bpf_helpers.h>

#include "departure.h"

#define WALL_CLOCK_MIN \
	(1ULL << 60) /* ns: July 2006 by a wall clock, 36 years after boot by the monotonic one */

/*
 * Stamps a packet that was charged, also when it departs at once: what stands there may be the time
 * at which its socket sent it, and fq, which is late now and then, would let it overtake packets of
 * its flow that were due since.
 *
 * Time and clock are set together. A plain write leaves the clock as it was: since Linux 7 fq then
 * warns of packets that have none, and converts the time where a socket asked for CLOCK_TAI
 * (SO_TXTIME). Before, a time without a clock is cleared by bridges, for example, which take it for
 * a receive timestamp. What left the pod as IP has its clock from TCP or from say_clock(), whatever
 * it is by now. Of other frames the kernel takes none, so they get no time: they are charged, and
 * dropped at the horizon, but do not wait.
 */
static __always_inline void stamp(struct __sk_buff *skb, __u64 departure_at)
{
	/*
	 * Or else clang computes the address of the field, and the verifier takes none that was computed.
	 */
	barrier_var(skb);
	if (skb->tstamp_type == BPF_SKB_TSTAMP_DELIVERY_MONO)
		skb->tstamp = departure_at;
	else
		bpf_skb_set_tstamp(skb, departure_at, BPF_SKB_TSTAMP_DELIVERY_MONO);
}

/*
 * Says that the time of a packet is one of the monotonic clock, while the kernel takes that of it:
 * at its exit it may be no IP any more (MPLS). The time itself, the frame's number, is over, which
 * is none to fq and to the departure step. A time that a socket asked for stays, unless it is over
 * as well (TCP says when it has sent a packet), by whichever clock: a pod could choose the number
 * by CLOCK_TAI otherwise.
 */
static __always_inline void say_clock(struct __sk_buff *skb, __u32 frame)
{
	barrier_var(skb);
	if (!skb->tstamp_type)
		bpf_skb_set_tstamp(skb, frame, BPF_SKB_TSTAMP_DELIVERY_MONO);
	else if (skb->tstamp <= bpf_ktime_get_ns())
		skb->tstamp = frame;
}

/*
 * Stamps a packet that a cap holds, and has fq look at the stamp: what is of the priority
 * TC_PRIO_CONTROL it sends at once (q->internal in net/sched/sch_fq.c). Whoever says so of a pod's
 * packets on the node (nft meta priority, skbedit) would take its cap away. The next lower priority
 * waits, and is in the same band where fq has them, since Linux 6.7. The upper bits, a class, stay.
 */
static __always_inline void hold_until(struct __sk_buff *skb, __u64 departure_at)
{
	if ((skb->priority & TC_PRIO_MAX) == TC_PRIO_CONTROL)
		skb->priority ^= TC_PRIO_CONTROL ^ TC_PRIO_INTERACTIVE;
	stamp(skb, departure_at);
}

/*
 * A packet that no cap holds keeps the time that its socket asked for (SO_TXTIME), but meets our
 * fq. Where that time is one of CLOCK_TAI, fq of Linux 6.18 and older takes it for a monotonic one,
 * 50 years ahead, and drops the packet; the qdisc before would have sent it. So it is said in the
 * clock that every fq reads, which fq does itself since Linux 7. It is known by its value: on Linux
 * 6.1 a packet does not tell its clock.
 */
static __always_inline void say_monotonic(struct __sk_buff *skb)
{
	__u64 asked_at = skb->tstamp;

	if (asked_at >= WALL_CLOCK_MIN)
		stamp(skb, bpf_ktime_get_ns() + departure_ahead(asked_at, bpf_ktime_get_tai_ns()));
}

/*
 * A packet that came in by another device and that no exit finds a sign on. What goes to many has
 * been charged and has its time: as with hold_until() no priority takes that away, whichever rule
 * behind the classifier sets it.
 */
static __always_inline void pass_forwarded(struct __sk_buff *skb)
{
	if ((skb->priority & TC_PRIO_MAX) == TC_PRIO_CONTROL &&
	    skb->tstamp_type == BPF_SKB_TSTAMP_DELIVERY_MONO)
		skb->priority ^= TC_PRIO_CONTROL ^ TC_PRIO_INTERACTIVE;
}

/* 0 is none. */
static __always_inline void stamp_or_keep(struct __sk_buff *skb, __u64 departure_at)
{
	if (departure_at)
		hold_until(skb, departure_at);
	else
		say_monotonic(skb);
}

#endif
