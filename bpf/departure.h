/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The departure step: when may the next packet of an aggregate leave?
 *
 * DOC: Theory of operation
 *
 * An aggregate is a virtual link of its rate. Its clock, t_last, says when that link has sent
 * everything that was charged to it. A packet at the time now gets the next slot on the link:
 *
 *	ready  = max(now, tstamp)
 *	start  = max(t_last, ready - idle_credit)	where its slot begins
 *	t_last = start + charge				charge: the packet's wire length divided by the rate
 *
 * and departs in one of two lanes.
 *
 * Slot lane. departure = max(start, ready). A packet waits for the backlog before it and never for
 * itself. (A 64 KB GSO packet takes 52 ms at 10 Mbit/s. A step that adds the packet's own time
 * first would drop it at a horizon of 50 ms, for ever.) Idle time earns credit, but never more than
 * idle_credit. Into a pod packets come merged, by the sender's host or by this one's. Such a
 * packet, when it has to wait, leaves when the last of its segments would leave had they come one
 * by one: the pod never has more than the link could have brought it, where 64 KB at the start of
 * their slot would be 26 ms of 20 Mbit/s ahead of that.
 *
 * Sparse lane. The packet of a sparse flow departs before its slot: at once, as a rule. It is
 * charged all the same, so it is the bulk flows that come after it which wait for it. Such a packet
 * is a loan, paid back when its slot comes. Loans that are out add up to at most sparse_credit:
 * with more, a packet departs when enough of the older ones have been paid back. Half of the credit
 * is for small packets only, and a large one never waits for credit: bulk flows that come back from
 * a timeout would spend all of it. So hundreds of sparse flows that together offer more than the
 * rate get the rate.
 *
 * What holds, whatever the packets are:
 *
 * - Bytes that depart in any window <= rate * (window + idle_credit + sparse_credit) + one packet.
 *   Proof: slots do not overlap. What departs from the slot lane in [a, b] starts within [a -
 *   idle_credit, b], since start <= departure <= start + idle_credit. What departs from the sparse
 *   lane in it and has its slot before b starts within [a, b]; the rest of the sparse lane are the
 *   loans that are out at b.
 * - Where packets come merged, one more: that whose slot a lies in and which waits for its last
 *   segment. But from the first packet on it is one segment and no packet, unless a merged one is
 *   on the link at b that did not have to wait: what departs from the slot lane by b ends by b, or
 *   one segment later. (Not both: a packet that comes at the end of another's slot departs at once,
 *   so that other one would have to be gone for as long as this one takes.)
 * - Departures of one flow never go back: a packet of the sparse lane departs at the earliest with
 *   the one before it of its flow, whichever lane that is in, and slots do not go back. (On several
 *   CPUs: for packets in the order in which they take the lock.)
 * - An aggregate without backlog neither drops nor delays, except as tstamp asks for it.
 * - A packet that is dropped leaves the clock alone. One that departs waits for less than the
 *   horizon.
 *
 * Flows. A flow is what has one hash, in a table of the aggregate's own, so no pod can disturb
 * another's. A flow is sparse while what it sent lately is below 1/SPARSE_DIVISOR of the rate and,
 * when bulk flows are many, below the share that each flow has: well below with large packets; a
 * few packets at once are no more than one in that. The table is set-associative. When a set is
 * full of flows that have packets yet to depart, the flows that come on top share one entry: they
 * count as one flow until its last packet has left. Forgetting an entry is only ever done when
 * nothing of it is still to depart, so order never depends on the table's size.
 *
 * AQM. EDT knows at enqueue how long a packet will queue (start - ready). When that has been above
 * the target for an interval, a signal is due, and then more, ever closer, as in CoDel (RFC 8289):
 * the n-th comes interval / sqrt(n) later, times 1.13, and sooner the more bulk flows there are. A
 * signal is a CE mark for a packet that can carry one and a drop for any other. It goes to a flow
 * that queues at least half as long as the aggregate at its fair share of the rate, and never to a
 * small packet: those are acknowledgements, SYNs, DNS. At five targets, 20 ms above the target, or
 * halfway to the horizon, one signal per round trip through the queue is due at once: slow start
 * would be at the horizon before the interval is over. A drop takes all segments of a packet, of
 * which one would do: eight in a train of the pod's own, ten and more where they come merged. So it
 * waits for a packet of one or two, unless it is the first of a slow start, or the queue is halfway
 * to the horizon meanwhile. The packets of few segments are retransmissions before all, so after a
 * drop none of that flow is dropped for four times the queue: by then TCP has recovered.
 *
 * Fairness. A flow has a clock of its own at the rate divided by the number of bulk flows; it
 * stands still while the link is busy with the sparse lane, whose packets these flows wait for.
 * While the aggregate queues beyond the target, a flow whose own clock has reached the horizon is
 * dropped: a UDP flood gets its share and not its neighbours'. Nothing is dropped for fairness on a
 * link that has time left.
 *
 * Policing. A packet that nothing can hold departs at once, whatever its time. So its flow may be
 * ahead of its share of the rate by no more than police_ns, or a few frames: that, and not the
 * horizon, is how far such flows together come ahead of the clock.
 *
 * tstamp is a departure time that someone asked for before: the socket (SO_TXTIME, TCP pacing). It
 * moves the clock when it is ahead of the slot by more than the idle credit, or else packets that
 * were all stamped for one instant could leave as a burst there. It counts only when it lies ahead
 * of now, by less than the longest horizon: a value of another clock than the monotonic one (a
 * receive timestamp, CLOCK_TAI) is decades away. Going by the value instead of
 * __sk_buff->tstamp_type is on purpose: another EDT program's plain write leaves the type as it
 * was, so the type does not tell such a stamp from none.
 *
 * Rounding. The clock counts whole nanoseconds; a 64-byte packet takes half of one at 1 Tbit/s. A
 * charge of CHARGE_COARSE_NS or more is rounded up, which costs less than 0.1 % of the rate. A
 * smaller one pays its fraction in units of 2^-16 ns out of `prepaid`, which a whole nanosecond of
 * t_last refills. Either way t_last is never less than the exact sum of the charges: rounding never
 * exceeds the cap.
 *
 * Ranges. Any wire length that fits 32 bits, times 10^9, fits 63 bits. Rates go up to RATE_MAX (1
 * Pbit/s); more counts as that. With t_last in nanoseconds since boot nothing wraps for 200 years,
 * idle or not.
 *
 * Several CPUs. The caller holds the aggregate's lock around the step: a few dozen nanoseconds,
 * shared by nobody but the packets of one direction of one pod. So a packet is charged what it was
 * granted, on any number of CPUs.
 *
 * Repair. Maps can be damaged by hand. A rate of zero stands for the last good one; horizon,
 * credits and interval are held to their ranges. t_last is kept twice: when the two differ the
 * earlier one is true. When both are out of reach of any packet that could have been accepted at
 * the present rate, the clock is pulled back to just below the horizon, which is where the last
 * packet in the qdisc may stand. Times of flows and loans that lie beyond the clock are ignored.
 */
#ifndef PODPACE_DEPARTURE_H
#define PODPACE_DEPARTURE_H

#include "departure-flows.h"
#include "departure-loans.h"
#include "departure-signals.h"

/*
 * Takes over the settings; whatever stands in the map, those in force are in range. Returns 0
 * without any rate.
 */
static __always_inline __u64 departure_adopt(struct departure_state *state,
					     const struct aggregate_config *map, __u32 *repaired)
{
	struct aggregate_config *config = &state->config;
	__u64 rate = READ_ONCE(map->rate_bytes_per_sec);

	if (rate)
		config->rate_bytes_per_sec = departure_min(rate, RATE_MAX);
	else
		*repaired = 1;
	config->horizon_ns = departure_max(READ_ONCE(map->horizon_ns), HORIZON_MIN_NS);
	config->idle_credit_ns = departure_min(READ_ONCE(map->idle_credit_ns), CREDIT_MAX_NS);
	config->sparse_credit_ns = departure_min(READ_ONCE(map->sparse_credit_ns), CREDIT_MAX_NS);
	config->target_ns = READ_ONCE(map->target_ns);
	config->interval_ns = departure_max(READ_ONCE(map->interval_ns), INTERVAL_MIN_NS);
	barrier();
	return config->rate_bytes_per_sec;
}

/*
 * No packet that was ever accepted can have set the clock this far ahead, not at the present rate.
 */
static __always_inline int departure_out_of_reach(__u64 rate, __u64 t_last, __u64 now)
{
	return departure_ahead(t_last, now) >
	       HORIZON_MAX_NS + departure_charge(rate, WIRE_LEN_MAX).ns + 1;
}

/* Puts the clock right when someone has damaged it. */
static __always_inline void departure_check_clock(struct departure_state *state, __u32 *repaired)
{
	if (state->t_last == state->t_last_copy)
		return;
	state->t_last = departure_min(state->t_last, state->t_last_copy);
	state->t_last_copy = state->t_last;
	*repaired = 1;
}

/* Moves the clock behind the slot that begins at start. */
static __always_inline void departure_occupy(struct departure_state *state, __u64 start,
					     struct departure_charge charge)
{
	state->prepaid &= (1U << FRACTION_SHIFT) - 1;
	state->t_last = start + charge.ns;
	if (state->prepaid < charge.fraction) {
		state->prepaid += 1U << FRACTION_SHIFT;
		state->t_last++;
	}
	state->prepaid -= charge.fraction;
	state->t_last_copy = state->t_last;
}

/*
 * When a merged packet that has to wait for its slot departs: with the last of its segments, and
 * below the horizon.
 */
static __always_inline __u64 departure_of_last_segment(const struct departure_state *state,
						       const struct departure_packet *packet,
						       __u64 start, __u64 charge_ns)
{
	__u32 segments = departure_segments(packet);

	if (!packet->is_merged || segments < 2)
		return start;
	return departure_min(start + charge_ns - charge_ns / segments,
			     packet->now + state->config.horizon_ns - 1);
}

/*
 * What a flow may queue at its share of the rate whatever the others do: it could hardly send less.
 */
static __always_inline __u64 departure_spared(const struct departure_state *state)
{
	return state->flows * SPARED_FRAMES *
	       departure_charge(state->config.rate_bytes_per_sec, FULL_FRAME).ns;
}

/* What the slot lane does with a packet: let it depart, marked or not, or drop it, and why. */
static __always_inline __u32 departure_slot_verdict(struct departure_state *state,
						    const struct departure_packet *packet,
						    struct departure_flow *flow, __u64 queue_ns,
						    __u64 wait_ns)
{
	const struct aggregate_config *config = &state->config;
	__u64 fair_ns = departure_fair_excess(state, flow, packet->now);
	int is_small = departure_wire_len(packet) <= SMALL_WIRE_LEN;

	/* Small packets find room where others do not. */
	if (wait_ns >= config->horizon_ns - (is_small ? 0 : config->horizon_ns / 16))
		return DROP_HORIZON;
	if (packet->police_ns && queue_ns && fair_ns >= packet->police_ns &&
	    fair_ns >= departure_spared(state))
		return DROP_FLOW;
	if (!config->target_ns)
		return DEPART;
	if (queue_ns >= config->target_ns && fair_ns >= config->horizon_ns)
		return DROP_FLOW;
	if (!departure_signal_due(state, packet->now, queue_ns) || is_small ||
	    fair_ns < queue_ns / 2 || fair_ns < departure_spared(state))
		return DEPART;
	if (departure_signal_waits(state, flow, packet, queue_ns))
		return DEPART;
	departure_signal_given(state, packet->now);
	if (departure_is_ecn_capable(packet))
		return DEPART_MARKED;
	flow->dropped_at = packet->now >> DROPPED_SHIFT;
	return DROP_AQM;
}

/* When a packet may depart for all that its socket asked for. */
static __always_inline __u64 departure_ready(const struct departure_packet *packet)
{
	__u64 now = packet->now, ahead;

	verifier_forget_range(now, packet->tstamp);
	ahead = departure_ahead(packet->tstamp, now);
	verifier_forget_range(ahead, packet->now);
	return ahead <= HORIZON_MAX_NS ? packet->now + ahead : packet->now;
}

/*
 * departure_schedule() - Charge a packet to its aggregate and find its departure time
 * @map:	the aggregate's settings; the helper may change them at any time
 * @state:	the aggregate's clock, AQM and flows; the caller holds their lock
 * @packet:	the packet
 *
 * Return: when it departs, or why it is dropped
 */
static __always_inline struct departure departure_schedule(const struct aggregate_config *map,
							   struct departure_state *state,
							   const struct departure_packet *packet)
{
	struct departure departure = { .verdict = DEPART };
	__u64 rate = departure_adopt(state, map, &departure.repaired);
	__u64 now = packet->now;
	__u64 ready = departure_ready(packet);
	struct departure_charge charge;
	struct departure_flow *flow;
	__u64 start, last, time, loan_ns, reserve_ns, queue_ns;

	departure_check_clock(state, &departure.repaired);
	if (!rate)
		return departure;
	charge = departure_charge(rate, departure_wire_len(packet));
	loan_ns = charge.ns + 1; /* its fraction rounded up */
	departure_start_round(state, now);
	flow = departure_find_flow(state, packet->flow_hash, now);
	if (!flow)
		return departure;
	last = departure_flow_last(state, flow);
	start = departure_max(state->t_last, departure_ahead(ready, state->config.idle_credit_ns));

	if (start > ready && departure_is_sparse(state, flow, packet, charge.ns)) {
		reserve_ns = departure_wire_len(packet) > SMALL_WIRE_LEN
				     ? state->config.sparse_credit_ns / 2
				     : 0;
		time = departure_loan_time(state, loan_ns + reserve_ns, &departure.repaired);
		verifier_forget_range(time, now);
		if (reserve_ns && time > ready)
			time = start;
		time = departure_max(time, departure_max(ready, last));
		verifier_forget_range(time, now);
		if (time < start && time - now < state->config.horizon_ns) {
			departure_take_loan(state, loan_ns, start);
			state->sparse_ns += charge.ns;
			departure.verdict = DEPART_SPARSE;
			goto charged;
		}
	}

	time = departure_max(departure_max(start, ready), last);
	queue_ns = departure_ahead(start, ready);
	verifier_forget_range(queue_ns, now);
	departure.verdict = departure_slot_verdict(state, packet, flow, queue_ns, time - now);
	if (departure.verdict == DROP_HORIZON && departure_out_of_reach(rate, state->t_last, now)) {
		start = now + state->config.horizon_ns - 1;
		time = start;
		departure.verdict = DEPART;
		departure.repaired = 1;
	}
	if (departure.verdict > DEPART_MARKED)
		return departure;
	if (start > ready) {
		departure_count_bulk(state, flow);
		time = departure_max(time,
				     departure_of_last_segment(state, packet, start, charge.ns));
	}
charged:
	departure_occupy(state, start, charge);
	departure_charge_flow(state, flow, packet, charge.ns, time);
	departure.sojourn = time - now;
	return departure;
}

/*
 * departure_without_state() - The cap and nothing else: one clock, one lane
 * @map:	the aggregate's settings
 * @clock:	monotonic ns until when its link is busy; the caller holds its lock
 * @packet:	the packet
 *
 * For as long as somebody's hand has taken the state away: its packets are neither stopped nor set
 * free.
 *
 * Return: when the packet departs, or why it is dropped
 */
static __always_inline struct departure
departure_without_state(const struct aggregate_config *map, __u64 *clock,
			const struct departure_packet *packet)
{
	struct departure departure = { .verdict = DEPART };
	__u64 rate = departure_min(READ_ONCE(map->rate_bytes_per_sec), RATE_MAX);
	__u64 horizon_ns = departure_max(READ_ONCE(map->horizon_ns), HORIZON_MIN_NS);
	__u64 start = departure_max(*clock, packet->now);

	departure.repaired = 1;
	if (!rate)
		return departure;
	if (departure_out_of_reach(rate, start, packet->now))
		start = packet->now + horizon_ns - 1;
	departure.sojourn = start - packet->now;
	if (departure.sojourn >= horizon_ns) {
		departure.verdict = DROP_HORIZON;
		return departure;
	}
	*clock = start + departure_charge(rate, packet->wire_len).ns +
		 1; /* its fraction rounded up */
	return departure;
}

#endif
