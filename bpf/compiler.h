/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What podpace needs of a compiler beyond libbpf's bpf_helpers.h, for BPF and, as all of
 * departure*.h, for the host.
 *
 * Besides their usual work barrier() and barrier_var() keep the verifier's small:
 *
 * - A value that went to memory before barrier() is read again behind it. The verifier then no
 *   longer knows on which path it came there, and follows one path from here on, not all.
 * - What is computed from a variable behind barrier_var() is computed there, and not before the
 *   check of its range.
 */
#ifndef PODPACE_COMPILER_H
#define PODPACE_COMPILER_H

#include <linux/types.h>
#include <bpf/bpf_helpers.h>

#define READ_ONCE(x) (*(const volatile typeof(x) *)&(x))
#define WRITE_ONCE(x, value) (*(volatile typeof(x) *)&(x) = (value))

/*
 * Has the verifier forget the range of a variable: the outcome of an earlier comparison would
 * decide a later one, and so keep paths apart that have met. The verifier must know nothing of the
 * other variable. Neither changes.
 */
#ifdef __bpf__
#define verifier_forget_range(var, unknown) \
	asm volatile("%0 ^= %1\n%0 ^= %1" : "+&r"(var) : "r"(unknown))
#else
#define verifier_forget_range(var, unknown) ((void)(unknown))
#endif

#endif
