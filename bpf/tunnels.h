/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What a tunnel in metadata mode ("external", "collect_md") adds: a route, a filter or a switch
 * gives each packet its outer header (struct ip_tunnel_info of net/ip_tunnels.h), and no attribute
 * of the device tells.
 */
#ifndef PODPACE_TUNNELS_H
#define PODPACE_TUNNELS_H

#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "frames.h"

/* Bits of upper_exit.told: what is asked of each packet. */
#define TOLD_FAMILY 1 /* the outer header may be IPv6 where frame_bytes has IPv4 */
#define TOLD_GRE 2 /* checksum, key and sequence number of RFC 2890, 4 bytes each */
#define TOLD_OPTIONS 4 /* options of RFC 8926 */

/*
 * TUNNEL_CSUM, TUNNEL_KEY and TUNNEL_SEQ of linux/if_tunnel.h, which needs headers of the C
 * library. In network byte order, as the kernel gives them.
 */
#define TUNNEL_FLAG(bit) bpf_htons(bit)
#define TUNNEL_FLAG_CHECKSUM TUNNEL_FLAG(1)
#define TUNNEL_FLAG_KEY TUNNEL_FLAG(4)
#define TUNNEL_FLAG_SEQUENCE TUNNEL_FLAG(8)
#define GRE_FIELD 4

/* 6 bits, in units of 4 bytes: RFC 8926, section 3.4. */
#define GENEVE_OPTIONS_MAX 252

/* Options, whose length the kernel tells only by writing them. Too long for the stack. */
struct tunnel_options {
	__u8 bytes[GENEVE_OPTIONS_MAX];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct tunnel_options);
} tunnel_options SEC(".maps");

static __always_inline __u32 length_of_options(struct __sk_buff *skb)
{
	__u32 first = 0;
	struct tunnel_options *options = bpf_map_lookup_elem(&tunnel_options, &first);
	long length = options ? bpf_skb_get_tunnel_opt(skb, options, sizeof(*options)) : 0;

	return length > 0 ? length : 0;
}

/* Bytes added to a packet besides those in its exit's entry. */
static __always_inline __u32 overhead_told(struct __sk_buff *skb, __u32 told)
{
	struct bpf_tunnel_key key = {};
	__u32 length = 0;

	/* An error if the outer header is of the other family. */
	if (bpf_skb_get_tunnel_key(skb, &key, sizeof(key), BPF_F_TUNINFO_FLAGS)) {
		if (bpf_skb_get_tunnel_key(skb, &key, sizeof(key),
					   BPF_F_TUNINFO_IPV6 | BPF_F_TUNINFO_FLAGS))
			return 0;
		if (told & TOLD_FAMILY)
			length = sizeof(struct ipv6hdr) - sizeof(struct iphdr);
	}
	if (told & TOLD_GRE) {
		length += key.tunnel_flags & TUNNEL_FLAG_CHECKSUM ? GRE_FIELD : 0;
		length += key.tunnel_flags & TUNNEL_FLAG_KEY ? GRE_FIELD : 0;
		length += key.tunnel_flags & TUNNEL_FLAG_SEQUENCE ? GRE_FIELD : 0;
	}
	if (told & TOLD_OPTIONS)
		length += length_of_options(skb);
	return length;
}

#endif
