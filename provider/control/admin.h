/* The administrator's socket: questions of `holdfast`, and those that wait for a state. Loop's
 * thread. */
#ifndef HF_PROVIDER_CONTROL_ADMIN_H
#define HF_PROVIDER_CONTROL_ADMIN_H

#include <jansson.h>

#include "proto/document.pb-c.h"
#include "proto/provider.pb-c.h"
#include "provider/control/control.h"

int hf_admin_open(struct hf_control *control, struct hf_errmsg *message);
/* Answers everything that waits with HF_ECANCELED and closes. */
void hf_admin_close(struct hf_control *control);

/* Answers; takes the reference of `json` (may be NULL). `reason` with `err` 0 is a remark. */
void hf_admin_reply(struct hf_local_request *request, int err, const char *reason, json_t *json);
/* Who asks, for the audit trail: "uid N". */
const char *hf_admin_who(struct hf_local_request *request, char text[32]);

/* ---- waiting.c ---- */

enum hf_goal {
	HF_GOAL_NONE,      /* answer at once */
	HF_GOAL_AVAILABLE, /* of a volume */
	HF_GOAL_DETACHED,
	HF_GOAL_GONE,
	HF_GOAL_FRESH, /* a report of now, or what is known when LOOK_MS have passed */
	HF_GOAL_HELD,  /* of a gateway */
	HF_GOAL_ENDED, /* of an action */
};
/* Answers the request when the goal is reached, has failed for good, or wait_ms passed; at once if
 * wait_ms is 0. */
void hf_wait_volume(struct hf_control *control, struct hf_local_request *request,
		    const struct hf_reg_volume *volume, enum hf_goal goal, uint32_t wait_ms);
void hf_wait_gateway(struct hf_control *control, struct hf_local_request *request,
		     const struct hf_reg_gateway *gateway, enum hf_goal goal, uint32_t wait_ms);
/* `remark` is for people, when nobody waits. */
void hf_wait_action(struct hf_control *control, struct hf_local_request *request, uint64_t number,
		    uint64_t gateway, const char *remark, uint32_t wait_ms);
/* Something was reported about this volume, or this gateway came or went (0: not that). */
void hf_admin_changed(struct hf_control *control, uint64_t volume, uint64_t gateway);
void hf_waiting_tick(struct hf_control *control);
void hf_waiting_close(struct hf_control *control);

/* ---- actions_admin.c ---- */

void hf_admin_act(struct hf_control *control, struct hf_local_request *request,
		  const Holdfast__AdminAct *act, uint32_t wait_ms);
/* Of this gateway, or (empty) of all. */
void hf_admin_action_list(struct hf_control *control, struct hf_local_request *request,
			  const char *gateway);
void hf_admin_action_show(struct hf_control *control, struct hf_local_request *request,
			  const char *action);
/* Asks the gateway what it would do with this document, which is freed; NULL: with the one that is
 * desired now. */
void hf_admin_plan(struct hf_control *control, struct hf_local_request *request, uint64_t gateway,
		   Holdfast__Document *document);

/* ---- creating.c ---- */

/* The row that a request makes, without its secrets. */
void hf_create_volume_row(struct hf_control *control, const Holdfast__AdminVolumeCreate *create,
			  const struct hf_reg_gateway *gateway, struct hf_reg_volume *volume);

/* Creates a volume whose request was validated: first the signer makes and encrypts its secrets. */
void hf_create_volume(struct hf_control *control, struct hf_local_request *request,
		      const Holdfast__AdminVolumeCreate *create, uint32_t wait_ms);
/* The same for other CHAP secrets of one that exists. */
void hf_change_chap(struct hf_control *control, struct hf_local_request *request,
		    const Holdfast__AdminChap *chap, uint32_t wait_ms);
void hf_creating_tick(struct hf_control *control);
void hf_creating_close(struct hf_control *control);

#endif
