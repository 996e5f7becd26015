// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * bpf/departure.h as a host program, for departure-host.test.ts.
 *
 * departure-host cases: for each line of ten numbers on stdin, one call of departure_schedule(); prints what it
 * returned, the clock's two words afterwards, and how many rivals came first. A rival is another CPU that charges
 * rival_ns just before our compare-and-exchange.
 *
 * departure-host threads COUNT PACKETS RATE WIRE_LEN: that many threads send that many packets each on one clock that
 * starts at T_START; prints how many departed and the clock's two words.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t rivals_left;
static uint64_t rivals_come;
static uint64_t rival_ns;

static uint64_t contended_compare_and_swap(volatile void *word, uint64_t old, uint64_t new)
{
	if (rivals_left) {
		rivals_left--;
		rivals_come++;
		__sync_fetch_and_add((uint64_t *)word, rival_ns);
	}
	return __sync_val_compare_and_swap((uint64_t *)word, old, new);
}

#define compare_and_swap(word, old, new) contended_compare_and_swap(&(word), old, new)
#include "../../../bpf/departure.h"

#define T_START 2000000000ULL
#define THREADS_MAX 64

static int run_cases(void)
{
	uint64_t rate, horizon, burst, t_last, prepaid, now, tstamp, wire_len;

	while (scanf("%" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64
		     " %" SCNu64 " %" SCNu64,
		     &rate, &horizon, &burst, &t_last, &prepaid, &now, &tstamp, &wire_len, &rivals_left,
		     &rival_ns) == 10) {
		struct aggregate_config config = { .rate_bytes_per_sec = rate,
						   .horizon_ns = horizon,
						   .burst_ns = burst };
		struct aggregate_clock clock = { .t_last = t_last, .prepaid = prepaid };
		uint64_t departure;

		rivals_come = 0;
		departure = departure_schedule(&config, &clock, now, tstamp, wire_len);
		printf("%" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", departure, (uint64_t)clock.t_last,
		       (uint64_t)clock.prepaid & FRACTION_MASK, rivals_come);
	}
	return 0;
}

static struct aggregate_config shared_config;
static struct aggregate_clock shared_clock;
static uint64_t packets_each;
static uint32_t shared_wire_len;

static void *run_thread(void *departed)
{
	for (uint64_t i = 0; i < packets_each; i++)
		if (departure_schedule(&shared_config, &shared_clock, T_START, 0, shared_wire_len) !=
		    DEPARTURE_DROP)
			++*(uint64_t *)departed;
	return NULL;
}

static int run_threads(unsigned count, char **arguments)
{
	static uint64_t departed[THREADS_MAX][8]; /* a cache line each */
	pthread_t threads[THREADS_MAX];
	uint64_t total = 0;

	packets_each = strtoull(arguments[0], NULL, 10);
	shared_config.rate_bytes_per_sec = strtoull(arguments[1], NULL, 10);
	shared_config.horizon_ns = HORIZON_MAX_NS;
	shared_wire_len = strtoul(arguments[2], NULL, 10);
	shared_clock.t_last = T_START;
	for (unsigned i = 0; i < count; i++)
		if (pthread_create(&threads[i], NULL, run_thread, departed[i]))
			return 1;
	for (unsigned i = 0; i < count; i++) {
		pthread_join(threads[i], NULL);
		total += departed[i][0];
	}
	printf("%" PRIu64 " %" PRIu64 " %" PRIu64 "\n", total, (uint64_t)shared_clock.t_last,
	       (uint64_t)shared_clock.prepaid & FRACTION_MASK);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "cases"))
		return run_cases();
	if (argc == 6 && !strcmp(argv[1], "threads") && atoi(argv[2]) <= THREADS_MAX)
		return run_threads(atoi(argv[2]), argv + 3);
	return 2;
}
