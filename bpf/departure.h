/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The departure step: when may the next packet of an aggregate leave?
 *
 * Owns the algorithm. Integers only, no helper calls: it compiles for the host too, where it is
 * tested against test/model/departure.ts. The caller holds the aggregate's lock around the step.
 *
 * DOC: Theory of operation
 *
 * The virtual link
 * ----------------
 * An aggregate is a virtual link of its rate. Its clock, t_last, is the time at which that link has
 * sent everything charged to it. A packet that arrives at the time now gets the next slot:
 *
 *	ready  = max(now, tstamp)
 *	start  = max(t_last, ready - idle_credit)	where its slot begins
 *	t_last = start + charge				charge = wire length / rate
 *
 * and departs in one of two lanes.
 *
 * The slot lane
 * -------------
 * departure = max(start, ready). A packet waits for the backlog ahead of it, never for itself: a
 * 64 KB GSO packet takes 52 ms at 10 Mbit/s, so a step that adds the packet's own time first drops
 * every one of them at a horizon of 50 ms. Idle time earns credit, up to idle_credit.
 *
 * Packets into a pod come merged, by the sender's host or by this one. A merged packet that has to
 * wait departs when its last segment would have departed, had the segments come one by one. So the
 * pod never has more than the link could have carried; 64 KB at the start of their slot would be
 * 26 ms of 20 Mbit/s too early.
 *
 * The sparse lane
 * ---------------
 * A packet of a sparse flow departs before its slot, usually at once. It is charged all the same,
 * so the bulk flows behind it do the waiting. Such a packet is a loan, paid back when its slot
 * comes. Outstanding loans add up to at most sparse_credit; beyond that a packet departs as soon as
 * enough older loans are paid back. Hundreds of sparse flows that together offer more than the rate
 * therefore get the rate.
 *
 * Half of the credit is reserved for small packets, and a large packet never waits for credit: bulk
 * flows returning from a timeout would use up all of it.
 *
 * Invariants
 * ----------
 * Whatever the packets:
 *
 * - The cap. Bytes departing in any window <= rate * (window + idle_credit + sparse_credit) + one
 *   packet.
 *
 *   Proof: slots do not overlap. Packets of the slot lane that depart within [a, b] have slots that
 *   start within [a - idle_credit, b], since start <= departure <= start + idle_credit. Packets of
 *   the sparse lane that depart within [a, b] have slots that start within [a, b], or are loans
 *   still outstanding at b.
 *
 * - The cap, where packets come merged: one packet more, the one whose slot contains a and which
 *   waits for its last segment. Counted from the first packet on it is one segment instead, unless
 *   a merged packet that did not have to wait is on the link at b: what departs from the slot lane
 *   by b ends by b, or one segment later. (Never both: a packet that comes at the end of another's
 *   slot departs at once, and that other one must have departed as long ago as this one takes.)
 *
 * - Order. Departures of one flow never go back: a packet of the sparse lane departs no earlier
 *   than its flow's previous packet, whichever lane that took, and slots do not go back. On several
 *   CPUs the order is that in which packets take the lock.
 *
 * - An aggregate without backlog neither drops nor delays, except as tstamp asks.
 *
 * - A dropped packet leaves the clock alone. A packet that departs waits for less than the horizon.
 *
 * Flows
 * -----
 * A flow is what shares a hash, in a table of the aggregate's own: no pod can disturb another's
 * flows. A flow is sparse while what it sent recently is below 1/SPARSE_DIVISOR of the rate and,
 * when there are many bulk flows, below the share of each: well below it with large packets. A few
 * packets back to back are within that allowance.
 *
 * The table is set-associative. When every way of a set is taken by a flow with packets still to
 * depart, further flows share one entry and count as one flow until the last of their packets has
 * left. An entry is only reused when nothing of it is still to depart, so order never depends on
 * the size of the table.
 *
 * AQM
 * ---
 * EDT knows at enqueue how long a packet will queue (start - ready). Once that has been above the
 * target for an interval, signals are due at a growing rate, as in CoDel (RFC 8289): the n-th comes
 * interval / sqrt(n) after the one before, times 1.13, and sooner the more bulk flows there are. At
 * five targets, at 20 ms above the target, or at half the horizon, one signal per round trip
 * through the queue is due at once: slow start would reach the horizon before the interval is over.
 *
 * A signal is a CE mark on a packet that can carry one and a drop of any other. It goes to a flow
 * that queues at least half as long, at its fair share of the rate, as the aggregate does, and
 * never to a small packet: those are acknowledgements, SYNs, DNS.
 *
 * A drop takes all segments of a packet where one would do: eight in a train of the pod's own, ten
 * and more in a merged one. So it waits for a packet of one or two segments, unless it is the first
 * of a slow start or the queue has reached half the horizon. Packets of so few segments are mostly
 * retransmissions, so after a drop the flow is spared for four times the queue, by when TCP has
 * recovered.
 *
 * Fairness
 * --------
 * Each flow has a clock of its own, at the rate divided by the number of bulk flows. That clock
 * stands still while the link carries the sparse lane, for whose packets bulk flows wait. While the
 * aggregate queues beyond the target, a flow whose own clock has reached the horizon is dropped: a
 * UDP flood gets its share and not its neighbours'. A link with time to spare drops nothing for
 * fairness.
 *
 * Policing
 * --------
 * A packet that nothing can hold departs at once, whatever its time. Its flow may be ahead of its
 * share by no more than police_ns, or a few frames; that, not the horizon, bounds how far such
 * flows together run ahead of the clock.
 *
 * Requested times
 * ---------------
 * tstamp is a departure time requested earlier, by the socket (SO_TXTIME, TCP pacing). It moves the
 * clock when it is ahead of the slot by more than the idle credit; otherwise packets all stamped
 * for one instant could leave as a burst at it. It counts only when it is ahead of now by less than
 * the longest horizon: values of other clocks (a receive timestamp, CLOCK_TAI) are decades away.
 * __sk_buff->tstamp_type is not consulted, on purpose: a plain write by another EDT program leaves
 * the type as it was, so the type does not tell such a stamp from none.
 *
 * Rounding
 * --------
 * The clock counts whole nanoseconds; a 64-byte packet takes half of one at 1 Tbit/s. A charge of
 * CHARGE_COARSE_NS or more is rounded up, which costs less than 0.1 % of the rate. A smaller charge
 * pays its fraction, in units of 2^-16 ns, out of `prepaid`, which a whole nanosecond of t_last
 * refills. Either way t_last is never less than the exact sum of the charges, so rounding never
 * exceeds the cap.
 *
 * Ranges
 * ------
 * Any wire length that fits 32 bits, times 10^9, fits 63 bits. Rates go up to RATE_MAX (1 Pbit/s);
 * more counts as that. With t_last in nanoseconds since boot nothing wraps for 200 years, idle or
 * not.
 *
 * Locking
 * -------
 * The lock is held for a few dozen nanoseconds and contended only by packets of one direction of
 * one pod. Under it a packet is charged what it was granted, on any number of CPUs.
 *
 * Repair
 * ------
 * Maps can be damaged by hand. A rate of zero stands for the last good one; horizon, credits and
 * interval are clamped. t_last is kept twice; if the copies differ, the earlier one holds. If both
 * are beyond the reach of any packet that could have been accepted at the present rate, the clock
 * is pulled back to just below the horizon, which is where the last packet in the qdisc may be.
 * Times of flows and loans that lie beyond the clock are ignored.
 */
#ifndef PODPACE_DEPARTURE_H
#define PODPACE_DEPARTURE_H

#include "departure-flows.h"
#include "departure-loans.h"
#include "departure-signals.h"

/*
 * Adopts the settings, clamped to their ranges whatever the map says. Returns the rate in force; 0
 * if there never was one.
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

/* Whether no packet accepted at the present rate can have set the clock this far ahead. */
static __always_inline int departure_out_of_reach(__u64 rate, __u64 t_last, __u64 now)
{
	return departure_ahead(t_last, now) >
	       HORIZON_MAX_NS + departure_charge(rate, WIRE_LEN_MAX).ns + 1;
}

/* Repairs a clock that differs from its copy. */
static __always_inline void departure_check_clock(struct departure_state *state, __u32 *repaired)
{
	if (state->t_last == state->t_last_copy)
		return;
	state->t_last = departure_min(state->t_last, state->t_last_copy);
	state->t_last_copy = state->t_last;
	*repaired = 1;
}

/* Moves the clock to the end of the slot that begins at start. */
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

/* When a packet that has to wait departs: a merged one with its last segment, below the horizon. */
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

/* What any flow may queue at its share of the rate, whatever the others do. */
static __always_inline __u64 departure_spared(const struct departure_state *state)
{
	return state->flows * SPARED_FRAMES *
	       departure_charge(state->config.rate_bytes_per_sec, FULL_FRAME).ns;
}

/* What the slot lane does with a packet: lets it depart, marked or not, or drops it, and why. */
static __always_inline __u32 departure_slot_verdict(struct departure_state *state,
						    const struct departure_packet *packet,
						    struct departure_flow *flow, __u64 queue_ns,
						    __u64 wait_ns)
{
	const struct aggregate_config *config = &state->config;
	__u64 fair_ns = departure_fair_excess(state, flow, packet->now);
	int is_small = departure_wire_len(packet) <= SMALL_WIRE_LEN;

	/* The last sixteenth of the horizon is for small packets. */
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

/* The earliest departure that the packet's socket allows. */
static __always_inline __u64 departure_ready(const struct departure_packet *packet)
{
	__u64 now = packet->now, ahead;

	verifier_forget_range(now, packet->tstamp);
	ahead = departure_ahead(packet->tstamp, now);
	verifier_forget_range(ahead, packet->now);
	return ahead <= HORIZON_MAX_NS ? packet->now + ahead : packet->now;
}

/**
 * departure_schedule() - Charge a packet to its aggregate and find its departure time
 * @map:	the aggregate's settings, which the helper may change at any time
 * @state:	the aggregate's clock, AQM and flows, whose lock the caller holds
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
	loan_ns = charge.ns + 1; /* the fraction, rounded up */
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

/**
 * departure_without_state() - The cap alone: one clock, one lane
 * @map:	the aggregate's settings
 * @clock:	monotonic ns; the link is busy until then; the caller holds its lock
 * @packet:	the packet
 *
 * While the state is missing, deleted by hand: packets are neither stopped nor let loose.
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
	/* The fraction, rounded up. */
	*clock = start + departure_charge(rate, packet->wire_len).ns + 1;
	return departure;
}

#endif
