/* Who may begin a handshake: a bucket that holds `burst` and gains `per_s` a second. Pure; the
 * listener asks it before it accepts, so that a storm waits in the kernel's queue and costs
 * nothing. */
#ifndef HF_NET_ADMISSION_H
#define HF_NET_ADMISSION_H

#include <stdbool.h>
#include <stdint.h>

struct hf_admission {
	uint32_t per_s; /* 0: as many as come */
	uint32_t burst;
	uint64_t credit_us; /* at most burst / per_s */
	uint64_t last_ms;
};

void hf_admission_init(struct hf_admission *admission, uint32_t per_s, uint32_t burst,
		       uint64_t now_ms);
/* 0: one may be taken now (not yet counted); else the milliseconds until then. */
uint32_t hf_admission_wait_ms(struct hf_admission *admission, uint64_t now_ms);
/* Counts one. */
void hf_admission_take(struct hf_admission *admission);
/* Does somebody have to wait? */
bool hf_admission_busy(const struct hf_admission *admission);

#endif
