// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * bpf/departure.h as a host program, for departure-host.test.ts. Each line on stdin is a word and
 * its numbers:
 *
 *   new                        begins with another aggregate
 *   config RATE HORIZON IDLE_CREDIT SPARSE_CREDIT TARGET INTERVAL
 *   clock T_LAST PREPAID COPY  writes the clock and its copy by hand
 *   packet NOW TSTAMP WIRE_LEN HASH ECN SEGMENTS IS_MERGED POLICE_NS
 *                              prints verdict, sojourn, whether something was repaired, and the
 *                              clock's words
 *   end                        prints an empty line and flushes the output
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "../../../bpf/departure.h"

static struct aggregate_config config;
static struct departure_state state;

static int read_config(void)
{
	uint64_t rate;
	uint32_t horizon, idle, sparse, target, interval;

	if (scanf("%" SCNu64 " %" SCNu32 " %" SCNu32 " %" SCNu32 " %" SCNu32 " %" SCNu32, &rate,
		  &horizon, &idle, &sparse, &target, &interval) != 6)
		return 1;
	config = (struct aggregate_config){ rate, horizon, idle, sparse, target, interval, 0 };
	return 0;
}

static int read_clock(void)
{
	uint64_t t_last, copy;
	uint32_t prepaid;

	if (scanf("%" SCNu64 " %" SCNu32 " %" SCNu64, &t_last, &prepaid, &copy) != 3)
		return 1;
	state.t_last = t_last;
	state.prepaid = prepaid;
	state.t_last_copy = copy;
	return 0;
}

static int send_packet(void)
{
	struct departure departure;
	struct departure_packet packet;
	uint64_t now, tstamp;
	uint32_t wire_len, hash, ecn, segments, is_merged, police_ns;

	if (scanf("%" SCNu64 " %" SCNu64 " %" SCNu32 " %" SCNu32 " %" SCNu32 " %" SCNu32 " %" SCNu32
		  " %" SCNu32,
		  &now, &tstamp, &wire_len, &hash, &ecn, &segments, &is_merged, &police_ns) != 8)
		return 1;
	packet = (struct departure_packet){ now, tstamp,   wire_len,  hash,
					    ecn, segments, is_merged, police_ns };
	departure = departure_schedule(&config, &state, &packet);
	printf("%u %" PRIu64 " %u %" PRIu64 " %u\n", departure.verdict, (uint64_t)departure.sojourn,
	       departure.repaired, (uint64_t)state.t_last, state.prepaid);
	return 0;
}

int main(void)
{
	char word[8];
	int failed = 0;

	while (!failed && scanf("%7s", word) == 1) {
		if (!strcmp(word, "new"))
			state = (struct departure_state){ 0 };
		else if (!strcmp(word, "config"))
			failed = read_config();
		else if (!strcmp(word, "clock"))
			failed = read_clock();
		else if (!strcmp(word, "packet"))
			failed = send_packet();
		else if (!strcmp(word, "end"))
			failed = printf("\n") < 0 || fflush(stdout);
		else
			failed = 1;
	}
	return failed;
}
