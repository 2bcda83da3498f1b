/* Who may log in to a volume's target, pure: from a document's entry to the broker's access list.
 *
 *   initiators given              these names and addresses, with CHAP if set
 *   no initiators, CHAP set       every address, with CHAP
 *   no initiators, no CHAP        loopback only
 */
#ifndef HF_GATEWAY_AGENT_ACCESS_H
#define HF_GATEWAY_AGENT_ACCESS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "proto/document.pb-c.h"
#include "proto/local.pb-c.h"

#define HF_ACCESS_MAX 64u /* initiators of a volume */

/* Pointers into the entry or to constants. */
struct hf_access {
	char *names[HF_ACCESS_MAX];
	size_t name_count;
	char *addresses[HF_ACCESS_MAX];
	size_t address_count;
};

/* HF_EINVAL and why: too many, or one that is neither a name nor an address. */
int hf_access_check(const Holdfast__Volume *entry, struct hf_errmsg *message);
/* Of an entry that passed hf_access_check. */
void hf_access_of(const Holdfast__Volume *entry, struct hf_access *access);
/* Does tgtd already have exactly this (in any order)? Secrets cannot be seen. */
bool hf_access_matches(const Holdfast__Volume *entry, const Holdfast__BrokerTargetState *target);

#endif
