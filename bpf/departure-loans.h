/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The sparse credit: lent to packets that depart before their slot, paid back when the slot comes.
 * See "The sparse lane" in departure.h.
 *
 * Owns departure_state.loan*. The credit is a ring of LOAN_PARTS parts, filled in turn; each notes
 * the slot that pays it back. Outstanding loans never exceed the credit.
 */
#ifndef PODPACE_DEPARTURE_LOANS_H
#define PODPACE_DEPARTURE_LOANS_H

#include "departure-state.h"

/* Adopts a new sparse credit. One that was in force counts as lent until the backlog has left. */
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
 * When a packet may depart in the sparse lane: as soon as the outstanding loans and its own fit the
 * credit, that is, when the parts that it fills have been paid back since they were filled one turn
 * of the ring ago. ~0: never.
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
	/* Through memory: the verifier need not keep what each part of the sum may be. */
	WRITE_ONCE(state->way, state->loan_part + (lent + part_ns - 1) / part_ns);
	paid_back = state->loans[READ_ONCE(state->way) & (LOAN_PARTS - 1)];
	if (paid_back <= state->t_last)
		return paid_back;
	departure_reset_loans(state);
	*repaired = 1;
	return ~0ULL;
}

/* Takes a loan that the slot at start pays back. */
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
