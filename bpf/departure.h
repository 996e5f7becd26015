/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The departure step: when may the next packet of an aggregate leave?
 *
 * DOC: Theory of operation
 *
 * An aggregate is a virtual link of its rate. Its clock, t_last, says when that link has sent everything that
 * was charged to it. A packet at the time now gets the next slot on the link:
 *
 *	ready  = max(now, tstamp)
 *	start  = max(t_last, ready - idle_credit)	where its slot begins
 *	t_last = start + charge				charge: the packet's wire length divided by the rate
 *
 * and departs in one of two lanes.
 *
 * Slot lane. departure = max(start, ready). A packet waits for the backlog before it and never for itself. (A 64 KB
 * GSO packet takes 52 ms at 10 Mbit/s. A step that adds the packet's own time first would drop it at a horizon of
 * 50 ms, for ever.) Idle time earns credit, but never more than idle_credit.
 *
 * Sparse lane. The packet of a sparse flow departs before its slot: at once, as a rule. It is charged all the same,
 * so it is the bulk flows that come after it which wait for it. Such a packet is a loan, paid back when its slot
 * comes. Loans that are out add up to at most sparse_credit: with more, a packet departs when enough of
 * the older ones have been paid back. So hundreds of sparse flows that together offer more than the rate get the rate.
 *
 * What holds, whatever the packets are:
 *
 * - Bytes that depart in any window <= rate * (window + idle_credit + sparse_credit) + one packet. Proof: slots do not
 *   overlap. What departs from the slot lane in [a, b] starts within [a - idle_credit, b], since start <= departure <=
 *   start + idle_credit. What departs from the sparse lane in it and has its slot before b starts within [a, b];
 *   the rest of the sparse lane are the loans that are out at b.
 * - Departures of one flow never go back: a packet of the sparse lane departs at the earliest with the one before it
 *   of its flow, whichever lane that is in, and slots do not go back. (On several CPUs: for packets in the order
 *   in which they take the lock.)
 * - An aggregate without backlog neither drops nor delays, except as tstamp asks for it.
 * - A packet that is dropped leaves the clock alone. One that departs waits for less than the horizon.
 *
 * Flows. A flow is what has one hash, in a table of the aggregate's own, so no pod can disturb another's. A flow is
 * sparse while what it sent lately is below 1/SPARSE_DIVISOR of the rate, and well below the share that each flow has
 * when bulk flows are many. The table is set-associative. When a set is full of flows that have packets yet to depart,
 * the flows that come on top share one entry: they count as one flow until its last packet has left. Forgetting
 * an entry is only ever done when nothing of it is still to depart, so order never depends on the table's size.
 *
 * AQM. EDT knows at enqueue how long a packet will queue (start - ready). When that has been above the target for an
 * interval, a signal is due, and then more, ever closer, as in CoDel (RFC 8289): the n-th comes interval / sqrt(n)
 * later, times 1.13, and sooner the more bulk flows there are. A signal is a CE mark for a packet that can carry one and
 * a drop for any other. It goes to a flow that queues at least half as long as the aggregate at its fair share of the
 * rate, and never to a small packet: those are acknowledgements, SYNs, DNS. Halfway to the horizon one signal
 * per round trip through the queue is due at once: slow start would be at the horizon before the interval is over.
 *
 * Fairness. A flow has a clock of its own at the rate divided by the number of bulk flows; it stands still while the
 * link is busy with the sparse lane, whose packets these flows wait for. While the aggregate queues beyond the
 * target, a flow whose own clock has reached the horizon is dropped: a UDP flood gets its share and not its
 * neighbours'. Nothing is dropped for fairness on a link that has time left.
 *
 * tstamp is a departure time that someone asked for before: the socket (SO_TXTIME, TCP pacing), or this very step
 * for the other aggregate of a packet between two pods. It moves the clock when it is ahead of the slot by more than
 * the idle credit, or else packets that were all stamped for one instant could leave as a burst there. It counts only
 * when it lies ahead of now, by less than the longest horizon: a value of another clock than the monotonic one (a
 * receive timestamp, CLOCK_TAI) is decades away. Going by the value instead of __sk_buff->tstamp_type is on purpose: a
 * stamp written by a BPF program at the egress hook leaves the type as it was, so the type does not tell our stamps,
 * or another EDT program's, from none.
 *
 * Rounding. The clock counts whole nanoseconds; a 64-byte packet takes half of one at 1 Tbit/s. A charge of
 * CHARGE_COARSE_NS or more is rounded up, which costs less than 0.1 % of the rate. A smaller one pays its
 * fraction in units of 2^-16 ns out of `prepaid`, which a whole nanosecond of t_last refills.
 * Either way t_last is never less than the exact sum of the charges: rounding never exceeds the cap.
 *
 * Ranges. Any wire length that fits 32 bits, times 10^9, fits 63 bits. Rates go up to RATE_MAX (1 Pbit/s); more
 * counts as that. With t_last in nanoseconds since boot nothing wraps for 200 years, idle or not.
 *
 * Several CPUs. The caller holds the aggregate's lock around the step: a few dozen nanoseconds, shared by nobody but
 * the packets of one direction of one pod. So a packet is charged what it was granted, on any number of CPUs.
 *
 * Repair. Maps can be damaged by hand. A rate of zero stands for the last good one; horizon, credits and interval are
 * held to their ranges. t_last is kept twice: when the two differ the earlier one is true. When both are out of reach
 * of any packet that could have been accepted at the present rate, the clock is pulled back to just below the
 * horizon, which is where the last packet in the qdisc may stand. Times of flows and loans that lie beyond the clock
 * are ignored.
 */
#ifndef PODPACE_DEPARTURE_H
#define PODPACE_DEPARTURE_H

#include <linux/types.h>

#define RATE_MAX 125000000000000ULL /* bytes per second: 1 Pbit/s */
#define HORIZON_MIN_NS 1000000U
#define HORIZON_MAX_NS 0xffffffffU /* what horizon_ns can say */
#define CREDIT_MAX_NS 20000000U
#define INTERVAL_MIN_NS 1000000U
#define WIRE_LEN_MAX (1U << 21) /* BIG TCP: 512 KiB in segments of 48 bytes, with 114 bytes of headers each */

#define CHARGE_COARSE_NS 1024
#define FRACTION_SHIFT 16

#define FLOW_SETS 16
#define FLOW_WAYS 8
#define SPARSE_DIVISOR 8 /* a sparse flow uses less than this part of the rate */
#define SPARSE_ALLOWANCE_NS 2000000U /* and may send this long at SPARSE_DIVISOR times as much */
#define SPARSE_MEMORY_NS 100000000U /* after sending more it has to keep quiet for so long at most */
#define SMALL_WIRE_LEN 576 /* acknowledgements, SYNs, DNS (RFC 1035: 512 bytes): exempt from signals */

#define SPARED_FRAMES 2 /* a flow that queues no more than these is not signalled: it could hardly send less */
#define FULL_FRAME 1514

#define LOAN_PARTS 16 /* sparse_credit is lent and paid back in so many parts */
#define SIGNAL_COUNT_MAX (1U << 20)
#define BULK_FLOWS_MAX 65535

#define departure_inline static inline __attribute__((always_inline))
#define read_once(word) (*(const volatile typeof(word) *)&(word))
#define write_once(word, value) (*(volatile typeof(word) *)&(word) = (value))
/* What is in memory is read again: the verifier then forgets on which way it came there, and follows one, not all. */
#define departure_forget_paths() __asm__ volatile("" ::: "memory")

/* What the helper sets, at any time: value of the map aggregate_config. */
struct aggregate_config {
	__u64 rate_bytes_per_sec;
	__u32 horizon_ns;
	__u32 idle_credit_ns;
	__u32 sparse_credit_ns;
	__u32 target_ns; /* 0: neither AQM nor fairness */
	__u32 interval_ns;
	__u32 reserved;
};

/* One flow. All times are monotonic ns. */
struct departure_flow {
	__u64 last; /* its latest departure */
	__u64 sparse_clock; /* its own link of 1 / SPARSE_DIVISOR of the rate, or less, is busy until then */
	__u64 fair_clock; /* its own link of a fair share of the rate is busy until then, in fair time */
	__u32 round; /* in which it was last counted as a bulk flow */
	__u32 reserved;
};

struct departure_flow_set {
	__u32 tags[FLOW_WAYS]; /* hash of the flow, never 0 */
	struct departure_flow ways[FLOW_WAYS];
	struct departure_flow shared; /* of those that found all ways busy */
};

/* What only the departure step writes, under the aggregate's lock. All zero is a valid beginning. */
struct departure_state {
	__u64 t_last; /* monotonic ns: the virtual link is busy until then */
	__u64 t_last_copy;
	struct aggregate_config config; /* the settings in force: those of the map, in range */
	__u32 prepaid; /* the part of t_last's last nanosecond that nobody used yet, in 2^-16 ns */

	__u32 bulk_flows; /* counted in this round */
	__u32 flows; /* bulk flows that share the rate: of this round or the one before, at least 1 */
	__u32 round;
	__u64 round_end;

	__u64 signal_at; /* when the next signal is due; 0: not queueing beyond the target */
	__u64 signal_last;
	__u32 signal_spacing;
	__u32 signal_count;

	__u64 sparse_ns; /* for which the link was busy with packets of the sparse lane */
	__u64 loans[LOAN_PARTS]; /* slot with which a part of the sparse credit is paid back */
	__u32 loan_part; /* index of the part that was filled last */
	__u32 loan_rest; /* ns of the part after it that are lent */
	__u32 loan_credit; /* the sparse credit that the parts are of */
	__u32 victim; /* way that makes room for another flow */

	struct departure_flow_set sets[FLOW_SETS];
};

struct departure_packet {
	__u64 now; /* monotonic */
	__u64 tstamp; /* departure time asked for before, or anything that is none */
	__u32 wire_len; /* as the link sees it, headers of GSO segments included */
	__u32 flow_hash;
	__u32 ecn_capable;
};

enum departure_verdict {
	DEPART,
	DEPART_SPARSE, /* before its slot */
	DEPART_MARKED, /* to be marked CE */
	DROP_HORIZON,
	DROP_AQM,
	DROP_FLOW, /* more than its share */
};

struct departure {
	__u64 sojourn; /* ns from now until it departs */
	__u32 verdict;
	__u32 repaired; /* something was damaged */
};

/* How long the virtual link is busy with a packet: ns + fraction * 2^-16, rounded up. */
struct departure_charge {
	__u64 ns;
	__u32 fraction; /* 0 .. 2^16 */
};

departure_inline __u64 departure_max(__u64 a, __u64 b)
{
	return a > b ? a : b;
}

departure_inline __u64 departure_min(__u64 a, __u64 b)
{
	return a < b ? a : b;
}

/* a - b, but at least 0: how far a lies ahead of b. */
departure_inline __u64 departure_ahead(__u64 a, __u64 b)
{
	return a > b ? a - b : 0;
}

departure_inline struct departure_charge departure_charge(__u64 rate, __u32 wire_len)
{
	__u64 byte_ns = (__u64)wire_len * 1000000000;
	struct departure_charge charge = { .ns = byte_ns / rate };
	__u64 rest = byte_ns - charge.ns * rate;

	if (charge.ns < CHARGE_COARSE_NS)
		charge.fraction = ((rest << FRACTION_SHIFT) + rate - 1) / rate;
	else if (rest)
		charge.ns++;
	return charge;
}

/* Takes over the settings; whatever stands in the map, those in force are in range. Returns 0 without any rate. */
departure_inline __u64 departure_adopt(struct departure_state *state, const struct aggregate_config *map,
				       __u32 *repaired)
{
	struct aggregate_config *config = &state->config;
	__u64 rate = read_once(map->rate_bytes_per_sec);

	if (rate)
		config->rate_bytes_per_sec = departure_min(rate, RATE_MAX);
	else
		*repaired = 1;
	config->horizon_ns = departure_max(read_once(map->horizon_ns), HORIZON_MIN_NS);
	config->idle_credit_ns = departure_min(read_once(map->idle_credit_ns), CREDIT_MAX_NS);
	config->sparse_credit_ns = departure_min(read_once(map->sparse_credit_ns), CREDIT_MAX_NS);
	config->target_ns = read_once(map->target_ns);
	config->interval_ns = departure_max(read_once(map->interval_ns), INTERVAL_MIN_NS);
	departure_forget_paths();
	return config->rate_bytes_per_sec;
}

/* No packet that was ever accepted can have set the clock this far ahead, not at the present rate. */
departure_inline int departure_out_of_reach(__u64 rate, __u64 t_last, __u64 now)
{
	return departure_ahead(t_last, now) > HORIZON_MAX_NS + departure_charge(rate, WIRE_LEN_MAX).ns + 1;
}

/* Bulk flows are counted in rounds. */
departure_inline void departure_start_round(struct departure_state *state, __u64 now)
{
	__u32 round_ns = state->config.interval_ns;

	if (now < state->round_end && state->round_end - now <= round_ns)
		return;
	state->flows = 1;
	if (now < state->round_end + round_ns && state->bulk_flows)
		state->flows = state->bulk_flows;
	state->bulk_flows = 0;
	state->round++;
	state->round_end = now + round_ns;
}

departure_inline void departure_count_bulk(struct departure_state *state, struct departure_flow *flow)
{
	if (flow->round == state->round || state->bulk_flows == BULK_FLOWS_MAX)
		return;
	flow->round = state->round;
	state->bulk_flows++;
	if (state->flows < state->bulk_flows)
		state->flows = state->bulk_flows;
}

/* The latest departure of a flow, as far as it can be true. */
departure_inline __u64 departure_flow_last(const struct departure_state *state, const struct departure_flow *flow)
{
	return flow->last <= state->t_last + CREDIT_MAX_NS ? flow->last : 0;
}

/* Time as bulk flows have it: it stands still while the link is busy with packets of the sparse lane. Never below 0. */
departure_inline __u64 departure_fair_time(const struct departure_state *state, __u64 now)
{
	return (1ULL << 62) + now - state->sparse_ns;
}

/* How far a flow is ahead of its fair share of the rate, as far as it can be true. */
departure_inline __u64 departure_fair_excess(const struct departure_state *state, const struct departure_flow *flow,
					     __u64 now)
{
	__u64 excess_ns = departure_ahead(flow->fair_clock, departure_fair_time(state, now));

	return excess_ns <= 2ULL * HORIZON_MAX_NS ? excess_ns : 0;
}

/* The entry of a flow that has none: a way that is quiet, best one that owes nothing, or else the shared entry. */
departure_inline struct departure_flow *departure_admit_flow(struct departure_state *state,
							     struct departure_flow_set *set, __u32 tag, __u64 now)
{
	struct departure_flow *flow;
	__u32 way, victim;

	/* It may be one of those that share, and have something yet to depart. */
	if (departure_flow_last(state, &set->shared) > now)
		return &set->shared;
	write_once(state->victim, FLOW_WAYS);
	for (way = 0; way < FLOW_WAYS; way++) {
		flow = &set->ways[way];
		if (departure_flow_last(state, flow) > now)
			continue;
		if (read_once(state->victim) == FLOW_WAYS ||
		    (flow->sparse_clock <= now && !departure_fair_excess(state, flow, now)))
			write_once(state->victim, way);
	}
	victim = read_once(state->victim);
	if (victim >= FLOW_WAYS)
		return &set->shared;
	set->tags[victim] = tag;
	set->ways[victim] = (struct departure_flow){ 0 };
	return &set->ways[victim];
}

departure_inline struct departure_flow *departure_find_flow(struct departure_state *state, __u32 hash, __u64 now)
{
	struct departure_flow_set *set = &state->sets[hash & (FLOW_SETS - 1)];
	__u32 tag = hash | FLOW_SETS; /* a bit that does not choose the set: a tag is never 0 */
	__u32 way, difference, is_other, found = 0, is_found = 0;

	/* Without branches: eight of them would be 256 ways for the verifier. */
	for (way = 0; way < FLOW_WAYS; way++) {
		difference = set->tags[way] ^ tag;
		is_other = (difference | -difference) >> 31;
		found |= way & (is_other - 1);
		is_found |= is_other ^ 1;
	}
	if (is_found)
		return &set->ways[found & (FLOW_WAYS - 1)];
	return departure_admit_flow(state, set, tag, now);
}

/* Lets a flow's own link, of 1 / divisor of the rate, carry a packet; it is never further behind than memory_ns. */
departure_inline __u64 departure_flow_clock(__u64 clock, __u64 now, __u64 charge_ns, __u64 divisor, __u64 memory_ns)
{
	__u64 busy_ns = departure_min(charge_ns, HORIZON_MAX_NS) * divisor;

	return departure_min(departure_max(clock, now) + busy_ns, now + memory_ns);
}

/* Begins with another sparse credit. If there was one before, it is out until the present backlog has left. */
departure_inline void departure_reset_loans(struct departure_state *state)
{
	__u32 part;

	for (part = 0; part < LOAN_PARTS; part++)
		if (state->loan_credit)
			state->loans[part] = state->t_last;
	state->loan_part = 0;
	state->loan_rest = 0;
	state->loan_credit = state->config.sparse_credit_ns;
}

/*
 * When a packet may depart in the sparse lane: as soon as the loans that are out, with its own, fit the credit. The
 * parts that it fills must have been paid back since they were filled LOAN_PARTS parts ago. Never: ~0.
 */
departure_inline __u64 departure_loan_time(struct departure_state *state, __u64 loan_ns, __u32 *repaired)
{
	__u64 lent, paid_back;
	__u32 part_ns;

	if (state->loan_credit != state->config.sparse_credit_ns)
		departure_reset_loans(state);
	part_ns = state->loan_credit / LOAN_PARTS;
	if (!part_ns || loan_ns > (__u64)part_ns * (LOAN_PARTS - 1))
		return ~0ULL;
	lent = state->loan_rest + loan_ns;
	paid_back = state->loans[(state->loan_part + (lent + part_ns - 1) / part_ns) & (LOAN_PARTS - 1)];
	if (paid_back <= state->t_last)
		return paid_back;
	departure_reset_loans(state);
	*repaired = 1;
	return ~0ULL;
}

/* Takes a loan that is paid back with the slot at start. */
departure_inline void departure_take_loan(struct departure_state *state, __u64 loan_ns, __u64 start)
{
	__u64 lent = state->loan_rest + loan_ns;
	__u32 part_ns = state->loan_credit / LOAN_PARTS;
	__u32 part;

	for (part = 0; part < LOAN_PARTS && lent >= part_ns; part++) {
		lent -= part_ns;
		state->loan_part++;
		state->loans[state->loan_part & (LOAN_PARTS - 1)] = start;
	}
	state->loan_rest = lent;
}

/* Whether the AQM owes somebody a signal. */
departure_inline int departure_signal_due(struct departure_state *state, __u64 now, __u64 queue_ns)
{
	__u32 interval_ns = state->config.interval_ns;

	if (queue_ns < state->config.target_ns) {
		state->signal_at = 0;
		return 0;
	}
	if (!state->signal_at || state->signal_at > now + interval_ns) {
		state->signal_at = now + interval_ns / state->flows;
		/* Soon after the last time it begins where it was, at half the pace; the count is its square. */
		if (!state->signal_spacing || now - state->signal_last > 16ULL * interval_ns) {
			state->signal_count = 1;
			state->signal_spacing = interval_ns;
		} else {
			state->signal_count = state->signal_count / 4 + 1;
			state->signal_spacing = departure_min(2ULL * state->signal_spacing, interval_ns);
		}
	}
	return now >= state->signal_at ||
	       (queue_ns >= state->config.horizon_ns / 2 && now - state->signal_last >= queue_ns);
}

/* The signal has been given: sets the time of the next. The product of 1 - 1/2n goes with 1 / sqrt(n). */
departure_inline void departure_signal_given(struct departure_state *state, __u64 now)
{
	state->signal_last = now;
	if (state->signal_count < SIGNAL_COUNT_MAX)
		state->signal_count++;
	state->signal_spacing -= state->signal_spacing / (2 * (state->signal_count + 1));
	state->signal_at = now + state->signal_spacing / state->flows;
}

/* Puts the clock right when someone has damaged it. */
departure_inline void departure_check_clock(struct departure_state *state, __u32 *repaired)
{
	if (state->t_last == state->t_last_copy)
		return;
	state->t_last = departure_min(state->t_last, state->t_last_copy);
	state->t_last_copy = state->t_last;
	*repaired = 1;
}

/* Moves the clock behind the slot that begins at start. */
departure_inline void departure_occupy(struct departure_state *state, __u64 start, struct departure_charge charge)
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

/* What the slot lane does with a packet: let it depart, marked or not, or drop it, and why. */
departure_inline __u32 departure_slot_verdict(struct departure_state *state, const struct departure_packet *packet,
					      const struct departure_flow *flow, __u64 queue_ns, __u64 wait_ns)
{
	const struct aggregate_config *config = &state->config;
	__u64 fair_ns = departure_fair_excess(state, flow, packet->now);
	int is_small = packet->wire_len <= SMALL_WIRE_LEN;

	/* Small packets find room where others do not. */
	if (wait_ns >= config->horizon_ns - (is_small ? 0 : config->horizon_ns / 16))
		return DROP_HORIZON;
	if (!config->target_ns)
		return DEPART;
	if (queue_ns >= config->target_ns && fair_ns >= config->horizon_ns)
		return DROP_FLOW;
	if (!departure_signal_due(state, packet->now, queue_ns) || is_small || fair_ns < queue_ns / 2 ||
	    fair_ns < state->flows * SPARED_FRAMES * departure_charge(config->rate_bytes_per_sec, FULL_FRAME).ns)
		return DEPART;
	departure_signal_given(state, packet->now);
	return packet->ecn_capable ? DEPART_MARKED : DROP_AQM;
}

/* Charges a packet that departs at time to its flow, after it has been charged to the aggregate. */
departure_inline void departure_charge_flow(struct departure_state *state, struct departure_flow *flow, __u64 now,
					    __u64 charge_ns, __u64 time)
{
	__u64 flows = state->flows;
	/* Not even a flow that owns the whole backlog would queue for longer than this at its share. */
	__u64 backlog_ns = departure_ahead(state->t_last, now) * flows;

	flow->last = time;
	flow->sparse_clock =
		departure_flow_clock(flow->sparse_clock, now, charge_ns,
				     departure_max(SPARSE_DIVISOR, flows + flows / 2), SPARSE_MEMORY_NS);
	flow->fair_clock = departure_flow_clock(flow->fair_clock, departure_fair_time(state, now), charge_ns, flows,
						departure_min(backlog_ns, 2ULL * state->config.horizon_ns));
}

/*
 * departure_schedule() - Charge a packet to its aggregate and find its departure time
 * @map:	the aggregate's settings; the helper may change them at any time
 * @state:	the aggregate's clock, AQM and flows; the caller holds their lock
 * @packet:	the packet
 *
 * Return: when it departs, or why it is dropped
 */
departure_inline struct departure departure_schedule(const struct aggregate_config *map,
						     struct departure_state *state,
						     const struct departure_packet *packet)
{
	struct departure departure = { .verdict = DEPART };
	__u64 rate = departure_adopt(state, map, &departure.repaired);
	__u64 now = packet->now;
	__u64 ready =
		departure_ahead(packet->tstamp, now) <= HORIZON_MAX_NS ? departure_max(packet->tstamp, now) : now;
	struct departure_charge charge;
	struct departure_flow *flow;
	__u64 start, last, time, loan_ns;

	departure_check_clock(state, &departure.repaired);
	if (!rate)
		return departure;
	charge = departure_charge(rate, packet->wire_len);
	loan_ns = charge.ns + 1; /* its fraction rounded up */
	departure_start_round(state, now);
	flow = departure_find_flow(state, packet->flow_hash, now);
	last = departure_flow_last(state, flow);
	start = departure_max(state->t_last, departure_ahead(ready, state->config.idle_credit_ns));

	if (start > ready && departure_ahead(flow->sparse_clock, now) <= SPARSE_ALLOWANCE_NS) {
		time = departure_max(departure_loan_time(state, loan_ns, &departure.repaired),
				     departure_max(ready, last));
		if (time < start && time - now < state->config.horizon_ns) {
			departure_take_loan(state, loan_ns, start);
			state->sparse_ns += charge.ns;
			departure.verdict = DEPART_SPARSE;
			goto charged;
		}
	}

	time = departure_max(departure_max(start, ready), last);
	departure.verdict = departure_slot_verdict(state, packet, flow, departure_ahead(start, ready), time - now);
	if (departure.verdict == DROP_HORIZON && departure_out_of_reach(rate, state->t_last, now)) {
		start = now + state->config.horizon_ns - 1;
		time = start;
		departure.verdict = DEPART;
		departure.repaired = 1;
	}
	if (departure.verdict > DEPART_MARKED)
		return departure;
	if (start > ready)
		departure_count_bulk(state, flow);
charged:
	departure_occupy(state, start, charge);
	departure_charge_flow(state, flow, now, charge.ns, time);
	departure.sojourn = time - now;
	return departure;
}

#endif
