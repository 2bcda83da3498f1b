/* Fuzz target: any bytes from the provider, at the gateway's session. Promises: never a crash or a
 * leak, one end with a reason, events only in the states the table allows. */
#include <string.h>

#include "tests/proto/fuzz_session.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_event(void *context, const struct hf_session_event *event)
{
	Holdfast__Answer answer = HOLDFAST__ANSWER__INIT;
	Holdfast__Report report = HOLDFAST__REPORT__INIT;
	struct fuzz *fuzz = context;

	HF_ASSERT(!fuzz->ended);
	switch (event->type) {
	case HF_EVENT_REQUEST:
		answer.request = event->request;
		if (fuzz->choices & 1)
			hf_session_answer(fuzz->session, &answer);
		if (event->requested->kind_case == HOLDFAST__REQUEST__KIND_SUBSCRIBE) {
			report.subscription = event->requested->subscribe->subscription;
			hf_session_report(fuzz->session, &report);
		}
		break;
	case HF_EVENT_CLAIMED:
		if (fuzz->choices & 2)
			hf_session_refuse(fuzz->session, "no");
		break;
	case HF_EVENT_HELD:
		HF_ASSERT(event->held->epoch > 5);
		break;
	case HF_EVENT_RETRY:
		HF_ASSERT(event->retry_ms >= HF_RETRY_MIN_MS && event->retry_ms <= HF_RETRY_MAX_MS);
		break;
	case HF_EVENT_ENDED:
		HF_ASSERT(event->reason);
		fuzz->ended++;
		break;
	default:
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz fuzz = {.now_ms = 1000};
	struct hf_session_config config = {.side = HF_SIDE_GATEWAY,
					   .floor_epoch = 5,
					   .output = fuzz_output,
					   .event = on_event,
					   .context = &fuzz};
	Holdfast__Connect connect = HOLDFAST__CONNECT__INIT;
	Holdfast__ActivateHello hello = HOLDFAST__ACTIVATE_HELLO__INIT;

	if (size == 0)
		return 0;
	fuzz.choices = data[0];
	config.kind = data[0] & 0x80 ? HF_SESSION_ACTIVATION : HF_SESSION_MANAGEMENT;
	fuzz.session = hf_session_create(&config, fuzz.now_ms);
	if (config.kind == HF_SESSION_MANAGEMENT)
		hf_session_connect(fuzz.session, fuzz.now_ms, &connect);
	else
		hf_session_hello(fuzz.session, fuzz.now_ms, &hello);
	fuzz_feed(&fuzz, data + 1, size - 1);
	hf_session_end(fuzz.session, HF_ECONN, "the input is over");
	HF_ASSERT(fuzz.ended == 1);
	hf_session_destroy(fuzz.session);
	return 0;
}
