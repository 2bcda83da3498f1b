/* Portals: where tgtd listens. A portal that cannot be bound is an answer like "invalid request"
 * and a line in tgtd's log, so the listing afterwards decides. */
#include "gateway/broker/operation.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int hf_op_show_portals(struct hf_operation *op, char **text)
{
	const struct hf_tgt_request request = {.mode = HF_TGT_PORTAL, .op = HF_TGT_SHOW};

	return hf_op_ask(op, &request, HF_TGT_OK, "list the portals", text);
}

static int is_listed(struct hf_operation *op, const char *portal, bool *listed)
{
	char *text, found[128];
	const char *at;
	int err = hf_op_show_portals(op, &text);

	*listed = false;
	if (err)
		return err;
	at = text;
	while (!*listed && hf_tgt_portal_next(&at, found, sizeof found))
		*listed = strcmp(found, portal) == 0;
	free(text);
	return 0;
}

static int change(struct hf_operation *op, enum hf_tgt_op verb, const char *portal, bool wanted)
{
	char parameters[160];
	const struct hf_tgt_request request = {
		.mode = HF_TGT_PORTAL, .op = verb, .parameters = parameters};
	const char *what = wanted ? "open the portal" : "close the portal";
	bool listed;
	int err = is_listed(op, portal, &listed);

	if (err || listed == wanted)
		return err;
	snprintf(parameters, sizeof parameters, "portal=%s", portal);
	err = hf_op_ask(op, &request, HF_TGT_INVALID, what, NULL);
	if (err == 0)
		err = is_listed(op, portal, &listed);
	if (err == 0 && listed != wanted)
		err = hf_fail(op->message, HF_EBUSY, "%s %s: tgtd could not, is the address %s?",
			      what, portal, wanted ? "in use, or not this machine's" : "known");
	return err;
}

int hf_op_open_portal(struct hf_operation *op, const char *portal)
{
	return change(op, HF_TGT_NEW, portal, true);
}

int hf_op_close_portal(struct hf_operation *op, const char *portal)
{
	return change(op, HF_TGT_DELETE, portal, false);
}
