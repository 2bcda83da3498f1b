/* The provider as main.c sees it. */
#ifndef HF_PROVIDER_CONTROL_PROCESS_H
#define HF_PROVIDER_CONTROL_PROCESS_H

#include "provider/control/control.h"

/* Zeroed by the caller but for `config` and `new_incarnation`. On failure stop and free as well. */
int hf_control_start(struct hf_control *control, uv_loop_t *loop, struct hf_errmsg *message);
/* The loop ends when everything is closed. */
void hf_control_stop(struct hf_control *control);
/* After the loop ended. */
void hf_control_free(struct hf_control *control);

#endif
