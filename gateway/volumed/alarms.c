/* The ring of texts of alarms.h. */
#include "gateway/volumed/alarms.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/assert.h"
#include "base/ids.h"
#include "base/log.h"

#define TIME_BYTES 21u /* "2026-01-31T23:59:59Z " */

void hf_alarm_raise(struct hf_alarms *alarms, uint64_t volume, const char *text)
{
	char line[HF_ALARM_BYTES - TIME_BYTES], id[HF_ID_TEXT_MAX];
	time_t now = time(NULL);
	struct tm utc;
	char *slot;

	if (volume)
		snprintf(line, sizeof line, "%s: %s", hf_id_format(HF_ID_VOLUME, volume, id), text);
	else
		snprintf(line, sizeof line, "%s", text);
	hf_warn("alarm: %s", line);
	if (alarms->raised > 0 &&
	    strcmp(alarms->text[(alarms->raised - 1) % HF_ALARMS_MAX] + TIME_BYTES, line) == 0)
		return;
	slot = alarms->text[alarms->raised++ % HF_ALARMS_MAX];
	gmtime_r(&now, &utc);
	strftime(slot, HF_ALARM_BYTES, "%Y-%m-%dT%H:%M:%SZ ", &utc);
	strcat(slot, line);
}

unsigned hf_alarms_count(const struct hf_alarms *alarms)
{
	return alarms->raised < HF_ALARMS_MAX ? (unsigned)alarms->raised : HF_ALARMS_MAX;
}

const char *hf_alarms_get(const struct hf_alarms *alarms, unsigned index)
{
	uint64_t oldest = alarms->raised - hf_alarms_count(alarms);

	HF_ASSERT(index < hf_alarms_count(alarms));
	return alarms->text[(oldest + index) % HF_ALARMS_MAX];
}
