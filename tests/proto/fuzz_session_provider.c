/* Fuzz target: any bytes from a gateway, at the provider's session. Promises: never a crash or a
 * leak, one end with a reason, every request answered once, nothing taken that was not asked for
 * (invariant 3). */
#include <string.h>

#include "tests/proto/fuzz_session.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned asked, answered, connects;

static void ask(struct fuzz *fuzz)
{
	Holdfast__Request request = HOLDFAST__REQUEST__INIT;
	Holdfast__Subscribe subscribe = HOLDFAST__SUBSCRIBE__INIT;
	uint64_t number;

	request.remaining_ms = 1000;
	subscribe.subscription = 1;
	subscribe.interval_ms = 500;
	request.kind_case = HOLDFAST__REQUEST__KIND_SUBSCRIBE;
	request.subscribe = &subscribe;
	if (hf_session_request(fuzz->session, fuzz->now_ms, &request, &number) == 0)
		asked++;
	request.kind_case = HOLDFAST__REQUEST__KIND_FORGET;
	if (hf_session_request(fuzz->session, fuzz->now_ms, &request, &number) == 0)
		asked++;
}

static void on_event(void *context, const struct hf_session_event *event)
{
	Holdfast__ActivateOffer offer = HOLDFAST__ACTIVATE_OFFER__INIT;
	Holdfast__ActivateClaimed claimed = HOLDFAST__ACTIVATE_CLAIMED__INIT;
	Holdfast__Parked parked = HOLDFAST__PARKED__INIT;
	Holdfast__Held held = HOLDFAST__HELD__INIT;
	struct fuzz *fuzz = context;

	HF_ASSERT(!fuzz->ended);
	held.epoch = 9;
	switch (event->type) {
	case HF_EVENT_CONNECT:
		HF_ASSERT(++connects == 1);
		if (fuzz->choices & 1)
			hf_session_park(fuzz->session, fuzz->now_ms, &parked);
		if (!(fuzz->choices & 1) || fuzz->choices & 2)
			hf_session_hold(fuzz->session, fuzz->now_ms, &held);
		ask(fuzz);
		break;
	case HF_EVENT_ANSWER:
		answered++;
		HF_ASSERT(answered <= asked && (event->status || event->answer));
		break;
	case HF_EVENT_REPORT:
		HF_ASSERT(asked > 0 && event->report->subscription == 1);
		break;
	case HF_EVENT_HELLO:
		HF_ASSERT(++connects == 1);
		hf_session_offer(fuzz->session, fuzz->now_ms, &offer);
		if (fuzz->choices & 1)
			hf_session_claimed(fuzz->session, &claimed);
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
	struct hf_session_config config = {.side = HF_SIDE_PROVIDER,
					   .ping_interval_ms = 1000,
					   .output = fuzz_output,
					   .event = on_event,
					   .context = &fuzz};

	asked = answered = connects = 0;
	if (size == 0)
		return 0;
	fuzz.choices = data[0];
	config.kind = data[0] & 0x80 ? HF_SESSION_ACTIVATION : HF_SESSION_MANAGEMENT;
	fuzz.session = hf_session_create(&config, fuzz.now_ms);
	fuzz_feed(&fuzz, data + 1, size - 1);
	hf_session_end(fuzz.session, HF_ECONN, "the input is over");
	HF_ASSERT(fuzz.ended == 1 && asked == answered);
	hf_session_destroy(fuzz.session);
	return 0;
}
