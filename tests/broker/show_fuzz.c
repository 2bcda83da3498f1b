/* Fuzz target: the readers of tgtd's listings on arbitrary text. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "gateway/broker/tgt_show.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1), portal[64];
	struct hf_errmsg message = {""};
	struct hf_tgt_state state;
	const char *at = text;

	HF_ASSERT(text);
	memcpy(text, data, size);
	text[size] = '\0';
	if (hf_tgt_show_parse(text, &state, &message) == 0)
		hf_tgt_state_free(&state);
	else
		HF_ASSERT(message.text[0] && state.target_count == 0);
	while (hf_tgt_portal_next(&at, portal, sizeof portal))
		HF_ASSERT(strlen(portal) < sizeof portal);
	free(text);
	return 0;
}
