/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What a BPF program needs besides linux/bpf.h: sections, map definitions and the few kernel helpers that
 * podpace calls. The numbers of the helpers are the kernel's (enum bpf_func_id).
 */
#ifndef PODPACE_HELPERS_H
#define PODPACE_HELPERS_H

#include <linux/bpf.h>

#define SEC(name) __attribute__((section(name), used))

/* Attributes of a map definition, read back from the BTF of the section .maps. */
#define __uint(name, value) int(*name)[value]
#define __type(name, value) typeof(value) *name

static void *(*const bpf_map_lookup_elem)(void *map, const void *key) = (void *)BPF_FUNC_map_lookup_elem;
static __u64 (*const bpf_ktime_get_ns)(void) = (void *)BPF_FUNC_ktime_get_ns;

#endif
