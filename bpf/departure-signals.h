/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The AQM: when a queue above the target owes a signal. See "AQM" in departure.h.
 *
 * Owns departure_state.signal_*. Whom the signal goes to, and whether it is a mark or a drop, is
 * departure_slot_verdict()'s.
 */
#ifndef PODPACE_DEPARTURE_SIGNALS_H
#define PODPACE_DEPARTURE_SIGNALS_H

#include "departure-state.h"

/* Whether a signal is due. */
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
		/*
		 * Soon after the last queue it resumes at half the pace; the count is its square.
		 */
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
 * Whether a due signal waits for a later packet. A drop costs as many retransmissions as the packet
 * has segments; and packets of few segments are mostly retransmissions, of which TCP that loses one
 * sends nothing for a timeout of 200 ms. So after a drop the flow is spared for a while; others are
 * not. Nor is the first signal of a slow start held back, or any at half the horizon.
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

/* Schedules the signal after the one just given. The product of 1 - 1/2n goes as 1/sqrt(n). */
static __always_inline void departure_signal_given(struct departure_state *state, __u64 now)
{
	state->signal_last = now;
	if (state->signal_count < SIGNAL_COUNT_MAX)
		state->signal_count++;
	state->signal_spacing -= state->signal_spacing / (2 * (state->signal_count + 1));
	state->signal_at = now + state->signal_spacing / state->flows;
}

#endif
