/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Looking up what sockets, packets and addresses have: ports, addresses, protocol, family, state. */
#ifndef TRIGON_HOOK_FIELD_H
#define TRIGON_HOOK_FIELD_H

#include "lookup.h"
#include "object.h"

/* The first byte of an address's key: what is mapped into IPv6 is IPv4. */
#define ADDRESS_V4 4
#define ADDRESS_V6 6
#define ADDRESS_BITS (8 + 128)

static __always_inline bool is_internet(const struct endpoint *endpoint)
{
	return endpoint->family == AF_INET || endpoint->family == AF_INET6;
}

static __always_inline struct mask *look_up_address(__u32 index, __u32 set, const __u8 *address)
{
	struct text_key *key = text_key(index, set);
	__u32 words[4];

	if (!key)
		return NULL;
	__builtin_memcpy(words, address, sizeof(words));
	bool mapped = !words[0] && !words[1] && words[2] == bpf_htonl(0xffff);

	key->text[0] = mapped ? ADDRESS_V4 : ADDRESS_V6;
	__builtin_memcpy(&key->text[1], address, sizeof(words));
	key->bits = FIXED_KEY_BITS + ADDRESS_BITS;
	return bpf_map_lookup_elem(&prefixes, key);
}

/*
 * Leaves in `asked` what a field of an endpoint satisfies; 0 where nothing is found, or there is no such field. A global
 * function, verified once.
 */
__attribute__((noinline)) int look_up_field(int index, __u32 number, __u32 set, __u32 field)
{
	struct call *call = call_at(index);

	if (!call || number >= VALUES)
		return 0;
	struct endpoint *endpoint = (void *)text_at(index, call->value[number].text);
	struct mask *found = NULL;

	if (!endpoint)
		return 0;
	if (field <= FIELD_DESTINATION_PORT && !is_internet(endpoint))
		return 0;
	switch (field) {
	case FIELD_SOURCE_ADDRESS:
		found = look_up_address(index, set, endpoint->saddr);
		break;
	case FIELD_DESTINATION_ADDRESS:
		found = look_up_address(index, set, endpoint->daddr);
		break;
	case FIELD_SOURCE_PORT:
		found = look_up_number(set, endpoint->sport);
		break;
	case FIELD_DESTINATION_PORT:
		found = look_up_number(set, endpoint->dport);
		break;
	case FIELD_PROTOCOL:
		found = look_up_number(set, endpoint->protocol);
		break;
	case FIELD_FAMILY:
		found = look_up_number(set, endpoint->family);
		break;
	case FIELD_STATE:
		found = look_up_number(set, endpoint->state);
		break;
	}
	if (!found)
		return 0;
	call->asked = *found;
	return 1;
}

#endif
