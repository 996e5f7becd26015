/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The AQM: when a queue that stands above the target owes somebody a signal. */
#ifndef PODPACE_DEPARTURE_SIGNALS_H
#define PODPACE_DEPARTURE_SIGNALS_H

#include "departure-state.h"

/* Whether the AQM owes somebody a signal. */
static __always_inline int departure_signal_due(struct departure_state *state, __u64 now,
						__u64 queue_ns)
{
	__u32 interval_ns = state->config.interval_ns, target_ns = state->config.target_ns;
	__u64 urgent_ns = departure_min(
		state->config.horizon_ns / 2,
		target_ns + departure_min((URGENT_TARGETS - 1ULL) * target_ns, URGENT_AHEAD_NS));

	if (queue_ns < target_ns) {
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
			state->signal_spacing =
				departure_min(2ULL * state->signal_spacing, interval_ns);
		}
	}
	return now >= state->signal_at ||
	       (queue_ns >= urgent_ns && now - state->signal_last >= queue_ns);
}

/*
 * Whether a signal that is due waits for a later packet, because a drop of this one would cost as
 * many retransmissions as it has segments, or would take such a retransmission: they are what comes
 * in packets of few segments, and TCP that loses one sends nothing for a timeout of 200 ms. So
 * after a drop the flow is left alone for some time; others may be told. Not in slow start, which
 * hears of its first signal at once, and not halfway to the horizon.
 */
static __always_inline int departure_signal_waits(const struct departure_state *state,
						  const struct departure_flow *flow,
						  const struct departure_packet *packet,
						  __u64 queue_ns)
{
	__u32 recovering = (__u32)(packet->now >> DROPPED_SHIFT) - flow->dropped_at;

	if (departure_is_ecn_capable(packet) || queue_ns >= state->config.horizon_ns / 2)
		return 0;
	if ((__u64)recovering << DROPPED_SHIFT < RECOVERY_QUEUES * queue_ns)
		return 1;
	return departure_segments(packet) > DROPPED_SEGMENTS &&
	       (packet->now >= state->signal_at ||
		packet->now - state->signal_last < 16ULL * state->config.interval_ns);
}

/*
 * The signal has been given: sets the time of the next. The product of 1 - 1/2n goes with 1 /
 * sqrt(n).
 */
static __always_inline void departure_signal_given(struct departure_state *state, __u64 now)
{
	state->signal_last = now;
	if (state->signal_count < SIGNAL_COUNT_MAX)
		state->signal_count++;
	state->signal_spacing -= state->signal_spacing / (2 * (state->signal_count + 1));
	state->signal_at = now + state->signal_spacing / state->flows;
}

#endif
