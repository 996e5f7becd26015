/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The sparse credit: lent to packets that depart before their slot, paid back when the slot comes.
 */
#ifndef PODPACE_DEPARTURE_LOANS_H
#define PODPACE_DEPARTURE_LOANS_H

#include "departure-state.h"

/*
 * Begins with another sparse credit. If there was one before, it is out until the present backlog
 * has left.
 */
static __always_inline void departure_reset_loans(struct departure_state *state)
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
 * When a packet may depart in the sparse lane: as soon as the loans that are out, with its own, fit
 * the credit. The parts that it fills must have been paid back since they were filled LOAN_PARTS
 * parts ago. Never: ~0.
 */
static __always_inline __u64 departure_loan_time(struct departure_state *state, __u64 loan_ns,
						 __u32 *repaired)
{
	__u64 lent, paid_back;
	__u32 part_ns;

	if (state->loan_credit != state->config.sparse_credit_ns)
		departure_reset_loans(state);
	part_ns = state->loan_credit / LOAN_PARTS;
	if (!part_ns || loan_ns > (__u64)part_ns * (LOAN_PARTS - 1))
		return ~0ULL;
	lent = state->loan_rest + loan_ns;
	/* By way of memory, or the verifier would have to know for good what each part of the sum is. */
	WRITE_ONCE(state->way, state->loan_part + (lent + part_ns - 1) / part_ns);
	paid_back = state->loans[READ_ONCE(state->way) & (LOAN_PARTS - 1)];
	if (paid_back <= state->t_last)
		return paid_back;
	departure_reset_loans(state);
	*repaired = 1;
	return ~0ULL;
}

/* Takes a loan that is paid back with the slot at start. */
static __always_inline void departure_take_loan(struct departure_state *state, __u64 loan_ns,
						__u64 start)
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

#endif
