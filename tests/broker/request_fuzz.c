/* Fuzz target: a question of the agent's, decoded and checked. What passes the checks holds no
 * comma and no control character, so it cannot become another parameter of tgtd's. */
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "gateway/broker/request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect_plain(const char *text)
{
	for (; *text; text++)
		HF_ASSERT(*text > ' ' && *text <= '~' && *text != ',');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct hf_errmsg message = {""};
	Holdfast__BrokerRequest *request;

	if (hf_broker_request_decode(data, size, &request, &message) != 0) {
		HF_ASSERT(message.text[0] && !request);
		return 0;
	}
	HF_ASSERT(hf_broker_request_verb(request) != NULL);
	expect_plain(hf_broker_request_name(request));
	if (request->kind_case == HOLDFAST__BROKER_REQUEST__KIND_SET_ACCESS) {
		Holdfast__BrokerAccess *access = request->set_access;

		for (size_t i = 0; i < access->n_initiators; i++)
			expect_plain(access->initiators[i]);
		for (size_t i = 0; i < access->n_addresses; i++)
			expect_plain(access->addresses[i]);
		expect_plain(access->chap_user);
		expect_plain(access->chap_secret);
		expect_plain(access->mutual_user);
		expect_plain(access->mutual_secret);
	}
	if (request->kind_case == HOLDFAST__BROKER_REQUEST__KIND_ADD_LUN)
		expect_plain(request->add_lun->serial);
	hf_broker_request_free(request);
	return 0;
}
