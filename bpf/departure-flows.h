/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The flows of an aggregate: the table that tells them apart, what each has sent recently, and how
 * many share the rate. See "Flows" and "Fairness" in departure.h.
 *
 * Owns departure_state.sets and the counts of bulk flows. An entry is reused only when nothing of
 * it is still to depart.
 */
#ifndef PODPACE_DEPARTURE_FLOWS_H
#define PODPACE_DEPARTURE_FLOWS_H

#include "departure-state.h"

/* Bulk flows are counted in rounds of one interval. */
static __always_inline void departure_start_round(struct departure_state *state, __u64 now)
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

static __always_inline void departure_count_bulk(struct departure_state *state,
						 struct departure_flow *flow)
{
	if (flow->round == state->round || state->bulk_flows == BULK_FLOWS_MAX)
		return;
	flow->round = state->round;
	state->bulk_flows++;
	if (state->flows < state->bulk_flows)
		state->flows = state->bulk_flows;
}

/*
 * A sparse flow uses less than 1/divisor of the rate. A bulk flow gets its share if all goes well,
 * so a flow of large packets must stay well below that share; small packets may use all of it.
 */
static __always_inline __u64 departure_sparse_divisor(const struct departure_state *state,
						      __u32 wire_len)
{
	__u64 flows = state->flows;

	return departure_max(SPARSE_DIVISOR,
			     wire_len <= SMALL_WIRE_LEN ? flows : flows + flows / 2);
}

/*
 * Whether a packet belongs to a sparse flow: the first after a pause, or one that follows within
 * the allowance. A large packet must fit the allowance with its whole length.
 */
static __always_inline int departure_is_sparse(const struct departure_state *state,
					       const struct departure_flow *flow,
					       const struct departure_packet *packet,
					       __u64 charge_ns)
{
	__u64 ahead_ns = departure_ahead(flow->sparse_clock, packet->now);
	__u64 divisor = departure_sparse_divisor(state, departure_wire_len(packet));

	if (ahead_ns && departure_wire_len(packet) > SMALL_WIRE_LEN)
		ahead_ns += departure_min(charge_ns, HORIZON_MAX_NS) * divisor;
	return ahead_ns <= SPARSE_ALLOWANCE_NS * divisor;
}

/* The latest departure of a flow; 0 if the value is damaged. */
static __always_inline __u64 departure_flow_last(const struct departure_state *state,
						 const struct departure_flow *flow)
{
	return flow->last <= state->t_last + CREDIT_MAX_NS ? flow->last : 0;
}

/* Fair time: stands still while the link carries the sparse lane. Never below 0. */
static __always_inline __u64 departure_fair_time(const struct departure_state *state, __u64 now)
{
	return (1ULL << 62) + now - state->sparse_ns;
}

/* How far a flow is ahead of its fair share of the rate; 0 if the value is damaged. */
static __always_inline __u64 departure_fair_excess(const struct departure_state *state,
						   const struct departure_flow *flow, __u64 now)
{
	__u64 excess_ns = departure_ahead(flow->fair_clock, departure_fair_time(state, now));

	return excess_ns <= 2ULL * HORIZON_MAX_NS ? excess_ns : 0;
}

/* Bit 0: whether a flow has packets still to depart, by departure_flow_last() without branches. */
static __always_inline __u64 departure_flow_departs(const struct departure_state *state,
						    const struct departure_flow *flow, __u64 now)
{
	__u64 is_untrue = departure_is_less(state->t_last + CREDIT_MAX_NS, flow->last);

	return departure_is_less(now, flow->last) & ~is_untrue;
}

/*
 * Bit 0: whether a flow has had more than its share: one of its own links is still busy, the fair
 * one by departure_fair_excess() without branches.
 */
static __always_inline __u64 departure_flow_owes(const struct departure_state *state,
						 const struct departure_flow *flow, __u64 now)
{
	__u64 fair_now = departure_fair_time(state, now);
	__u64 is_untrue = departure_is_less(2ULL * HORIZON_MAX_NS, flow->fair_clock - fair_now);

	return departure_is_less(now, flow->sparse_clock) |
	       (departure_is_less(fair_now, flow->fair_clock) & ~is_untrue);
}

/*
 * Chooses an entry for a flow that has none, into state->way: a way with nothing still to depart,
 * preferably one that owes nothing either, or else the shared entry.
 */
static __always_inline void departure_admit_flow(struct departure_state *state,
						 struct departure_flow_set *set, __u32 tag,
						 __u64 now)
{
	__u64 way, is_taken, chosen = FLOW_WAYS;
	struct departure_flow *flow;

	/* It may be one of those that share: their packets must depart first. */
	if (departure_flow_departs(state, &set->flows[FLOW_WAYS], now)) {
		WRITE_ONCE(state->way, FLOW_WAYS);
		return;
	}
	for (way = 0; way < FLOW_WAYS; way++) {
		flow = &set->flows[way];
		is_taken = (chosen / FLOW_WAYS | ~departure_flow_owes(state, flow, now)) &
			   ~departure_flow_departs(state, flow, now) & 1;
		barrier_var(is_taken);
		chosen += (way - chosen) * is_taken;
	}
	WRITE_ONCE(state->way, chosen);
	chosen = READ_ONCE(state->way);
	if (chosen >= FLOW_WAYS)
		return;
	set->tags[chosen] = tag;
	set->flows[chosen] = (struct departure_flow){ 0 };
}

/* Searches all ways of a set for a flow's entry, into state->way; makes one if there is none. */
static __always_inline void departure_search_flow(struct departure_state *state,
						  struct departure_flow_set *set, __u32 tag,
						  __u64 now)
{
	__u32 way, difference, negated, is_it, found = 0, is_found = 0;

	/*
	 * No branches: eight would be 256 paths for the verifier. A product, no mask: of a constant
	 * and a mask of 0 or ~0 newer verifiers (Linux 6.18) follow both outcomes. barrier_var()
	 * keeps clang from turning the bit into either.
	 */
	for (way = 0; way < FLOW_WAYS; way++) {
		difference = set->tags[way] ^ tag;
		negated = -difference;
		barrier_var(negated);
		is_it = (difference | negated) >> 31 ^ 1;
		barrier_var(is_it);
		found |= way * is_it;
		is_found |= is_it;
	}
	if (is_found)
		WRITE_ONCE(state->way, found);
	else
		departure_admit_flow(state, set, tag, now);
}

/*
 * The entry of a flow. Its way goes through memory, so the verifier follows the rest of the step
 * once and not once for each way. Never NULL, which only the verifier cannot know.
 */
static __always_inline struct departure_flow *departure_find_flow(struct departure_state *state,
								  __u32 hash, __u64 now)
{
	struct departure_flow_set *set = &state->sets[hash & (FLOW_SETS - 1)];
	__u32 tag = hash | FLOW_SETS; /* a bit that does not select the set: a tag is never 0 */
	__u32 way = READ_ONCE(set->latest_way) & (FLOW_WAYS - 1);

	barrier_var(way);
	/* A tag is in one way only. Packets come in trains: mostly it is the latest packet's. */
	if (set->tags[way] == tag)
		WRITE_ONCE(state->way, way);
	else
		departure_search_flow(state, set, tag, now);
	barrier();
	way = READ_ONCE(state->way);
	if (way > FLOW_WAYS)
		return NULL;
	barrier_var(way);
	set->latest_way = way;
	return &set->flows[way];
}

/* The clock of a flow's own link, of 1/divisor of the rate, after a packet; memory_ns at most. */
static __always_inline __u64 departure_flow_clock(__u64 clock, __u64 now, __u64 charge_ns,
						  __u64 divisor, __u64 memory_ns)
{
	__u64 busy_ns = departure_min(charge_ns, HORIZON_MAX_NS) * divisor;

	return departure_min(departure_max(clock, now) + busy_ns, now + memory_ns);
}

/* Charges a packet that departs at time to its flow, after it was charged to the aggregate. */
static __always_inline void departure_charge_flow(struct departure_state *state,
						  struct departure_flow *flow,
						  const struct departure_packet *packet,
						  __u64 charge_ns, __u64 time)
{
	__u64 flows = state->flows, now = packet->now;
	/* What a flow that owns the whole backlog would queue at its share. */
	__u64 backlog_ns = departure_ahead(state->t_last, now) * flows;

	flow->last = time;
	flow->sparse_clock = departure_flow_clock(
		flow->sparse_clock, now, charge_ns,
		departure_sparse_divisor(state, departure_wire_len(packet)), SPARSE_MEMORY_NS);
	flow->fair_clock = departure_flow_clock(
		flow->fair_clock, departure_fair_time(state, now), charge_ns, flows,
		departure_min(backlog_ns, 2ULL * state->config.horizon_ns));
}

#endif
