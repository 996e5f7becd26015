/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Charges a packet to an aggregate: from its id to the departure time.
 *
 * A frame is charged to an aggregate at most once. Its copies get its answer, packets of exempt
 * addresses none, and what became of each is booked.
 */
#ifndef PODPACE_CHARGE_H
#define PODPACE_CHARGE_H

#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

#include "aggregates.h"
#include "books.h"
#include "copies.h"
#include "departure.h"
#include "exemptions.h"
#include "frames.h"

/*
 * What a pod sends has a hash by now, from its socket or from a queue selection on the way. What
 * comes to it may have a NIC's, of the addresses alone, which makes one flow of everything between
 * two hosts; bpf_get_hash_recalc() knows that and computes another. The call costs as much as a
 * stamp.
 */
static __always_inline __u32 flow_hash(struct __sk_buff *skb, enum far_end far)
{
	return (far == DESTINATION ? skb->hash : 0) ?: bpf_get_hash_recalc(skb);
}

/* The departure step, under the lock of the aggregate's state. */
static __always_inline struct charged charge(const struct aggregate_config *config,
					     struct aggregate_gate *gate,
					     struct aggregate_state *state,
					     const struct departure_packet *packet)
{
	struct charged charged;
	__u64 t_last;

	bpf_spin_lock(&gate->lock);
	if (state) {
		t_last = state->departures.t_last;
		state->latest = departure_schedule(config, &state->departures, packet);
		state->latest_at = packet->now;
		barrier();
		charged.departure = state->latest;
		charged.throttled_ns =
			departure_throttled(t_last, state->departures.t_last,
					    state->departures.config.idle_credit_ns, packet->now);
	} else {
		t_last = gate->clock;
		charged.departure = departure_without_state(config, &gate->clock, packet);
		charged.throttled_ns = departure_throttled(
			t_last, gate->clock, READ_ONCE(config->idle_credit_ns), packet->now);
	}
	bpf_spin_unlock(&gate->lock);
	return charged;
}

/*
 * Counts a verdict. Returns whether the packet is to be dropped. The counters are looked up behind
 * the step, or the verifier would follow it twice, with and without them.
 */
static __always_inline int count_and_drop(__u32 id, const struct charged *charged,
					  const struct departure_packet *packet)
{
	struct aggregate_counters *counters = in_page(&aggregate_counters, id - AGGREGATE_ID_MIN);

	if (counters)
		count(counters, charged, packet->wire_len);
	if (charged->departure.verdict <= DEPART_MARKED)
		return 0;
	book_dropped(id, packet);
	return 1;
}

/*
 * Gives a copy of the packet charged last the verdict and the departure of that one: see copies.h.
 * Returns 0 for any other packet. The time is read anew and the conditions are merged, since the
 * verifier follows each branch, and each range that a value was compared with, through the whole
 * step.
 */
static __always_inline int is_answered_as_copy(struct __sk_buff *skb, struct aggregate_gate *gate,
					       const struct aggregate_state *state,
					       struct departure *told, __u64 *departs_at)
{
	__u64 tstamp = READ_ONCE(skb->tstamp), beyond = tstamp >> FRAME_BITS;
	__u32 latest = READ_ONCE(gate->latest_frame);
	/* 0 if the time is no frame's number. */
	__u32 frame = tstamp & (((beyond | -beyond) >> 63) - 1);

	WRITE_ONCE(gate->latest_frame, frame);
	if ((latest ^ frame) | FRAME_SEGMENTS(frame ^ skb->gso_segs))
		return 0;
	if (frame < FRAME_MIN || !state || !is_whole(skb))
		return 0;
	bpf_spin_lock(&gate->lock);
	*told = state->latest;
	*departs_at = state->latest_at + told->sojourn;
	bpf_spin_unlock(&gate->lock);
	return 1;
}

/* Books a packet whose far end is exempt from the cap of its aggregate. Returns whether it is. */
static __always_inline int book_if_exempt(struct __sk_buff *skb, __u32 id, enum far_end far,
					  const struct aggregate_config *config,
					  const struct departure_packet *packet)
{
	__u32 lists = READ_ONCE(config->exemptions);

	if (lists && is_exempt(skb, id, lists, far)) {
		book_exempt(id, packet);
		return 1;
	}
	return 0;
}

/* Whether a packet's time may be the number of its frame, or has been set by others. */
enum numbering {
	NOT_NUMBERED,
	NUMBERED,
};

/*
 * Charges a packet to its aggregate and sets *departure_at, unless the aggregate is not in use or
 * the packet's far end is exempt. Returns TC_ACT_SHOT for a packet that must be dropped.
 */
static __always_inline int schedule_departure(struct __sk_buff *skb, __u32 id, enum far_end far,
					      enum numbering numbering,
					      const struct departure_packet *asked,
					      __u64 *departure_at)
{
	const struct aggregate_config *config;
	struct departure_packet packet = *asked;
	struct departure copied;
	struct charged charged;
	struct aggregate_gate *gate;
	struct aggregate_state *state;
	__u32 index = id - AGGREGATE_ID_MIN;

	config = bpf_map_lookup_elem(&aggregate_config, &index);
	gate = bpf_map_lookup_elem(&aggregate_gates, &index);
	if (!config || !gate)
		return TC_ACT_UNSPEC;
	if (book_if_exempt(skb, id, far, config, &packet))
		return TC_ACT_UNSPEC;
	state = in_page(&aggregate_state, index);
	if (!READ_ONCE(config->rate_bytes_per_sec) &&
	    !(state && READ_ONCE(state->departures.config.rate_bytes_per_sec)))
		return TC_ACT_UNSPEC;

	if (numbering == NUMBERED && is_answered_as_copy(skb, gate, state, &copied, departure_at)) {
		book_copy(id, &packet);
		if (copied.verdict == DEPART_MARKED)
			bpf_skb_ecn_set_ce(skb);
		return copied.verdict > DEPART_MARKED ? TC_ACT_SHOT : TC_ACT_UNSPEC;
	}
	packet.flow_hash = flow_hash(skb, far);
	packet.now = bpf_ktime_get_ns();
	/* Below the target nothing is marked. A backlog that another CPU adds now costs a mark. */
	if (state && departure_ahead(READ_ONCE(state->departures.t_last), packet.now) >=
			     READ_ONCE(config->target_ns))
		packet.ecn_capable = is_ecn_capable(skb);

	charged = charge(config, gate, state, &packet);
	if (count_and_drop(id, &charged, &packet))
		return TC_ACT_SHOT;
	if (charged.departure.verdict == DEPART_MARKED)
		bpf_skb_ecn_set_ce(skb);
	*departure_at = packet.now + charged.departure.sojourn;
	return TC_ACT_UNSPEC;
}

#endif
