/* What a person should know of: the last 64 alarms of the core and of volumed, for the journal and
 * for status. The loop's thread. */
#ifndef HF_GATEWAY_VOLUMED_ALARMS_H
#define HF_GATEWAY_VOLUMED_ALARMS_H

#include <stdint.h>

#define HF_ALARMS_MAX  64u
#define HF_ALARM_BYTES 256u

struct hf_alarms {
	char text[HF_ALARMS_MAX][HF_ALARM_BYTES];
	uint64_t raised; /* ever; the last HF_ALARMS_MAX are kept */
};

/* `volume` 0: of no volume. Logs it and keeps it with the time; a repetition of the newest alarm is
 * logged only. */
void hf_alarm_raise(struct hf_alarms *alarms, uint64_t volume, const char *text);
unsigned hf_alarms_count(const struct hf_alarms *alarms);
/* 0 is the oldest kept. */
const char *hf_alarms_get(const struct hf_alarms *alarms, unsigned index);

#endif
