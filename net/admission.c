/* The bucket of admission.h, in microseconds of credit. Pure. */
#include "net/admission.h"

#define US_PER_S 1000000u

static uint64_t price_us(const struct hf_admission *admission)
{
	return US_PER_S / admission->per_s;
}

void hf_admission_init(struct hf_admission *admission, uint32_t per_s, uint32_t burst,
		       uint64_t now_ms)
{
	*admission = (struct hf_admission){.per_s = per_s > US_PER_S ? US_PER_S : per_s,
					   .burst = burst ? burst : 1};
	admission->last_ms = now_ms;
	if (admission->per_s)
		admission->credit_us = price_us(admission) * admission->burst;
}

uint32_t hf_admission_wait_ms(struct hf_admission *admission, uint64_t now_ms)
{
	uint64_t most, price;

	if (!admission->per_s)
		return 0;
	price = price_us(admission);
	most = price * admission->burst;
	/* Long ago is as good as full, and cannot overflow. */
	if (now_ms - admission->last_ms >= most / 1000)
		admission->credit_us = most;
	else
		admission->credit_us += (now_ms - admission->last_ms) * 1000;
	if (admission->credit_us > most)
		admission->credit_us = most;
	admission->last_ms = now_ms;
	if (admission->credit_us >= price)
		return 0;
	return (uint32_t)((price - admission->credit_us + 999) / 1000);
}

void hf_admission_take(struct hf_admission *admission)
{
	if (admission->per_s)
		admission->credit_us -= price_us(admission);
}

bool hf_admission_busy(const struct hf_admission *admission)
{
	return admission->per_s && admission->credit_us < price_us(admission);
}
