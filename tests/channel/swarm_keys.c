/* What the signer sends a simulated gateway beside documents and actions: its next key, a renewed
 * certificate (both kept before they are answered), the confirmation of network settings. */
#include <stdlib.h>
#include <string.h>

#include "tests/channel/swarm.h"

/* Answered once everything that is in the journal by now is durable. */
struct answering {
	struct sim_gateway *gateway;
	unsigned connection;
	uint64_t request;
};

static void answer_now(void *context)
{
	struct answering *answering = context;

	sim_answer_plainly(sim_path_of(answering->gateway, answering->connection),
			   answering->request, 0, NULL);
	free(answering);
}

static void answer_durably(struct sim_path *path, uint64_t request)
{
	struct answering *answering = malloc(sizeof *answering);

	if (!answering)
		die("out of memory");
	*answering = (struct answering){path->gateway, path->connection, request};
	journal_wait(path->gateway->swarm->journal, answer_now, answering);
}

static int take_rotation(struct sim_gateway *g, const Holdfast__Rotation *rotation, bool for_all)
{
	const ProtobufCBinaryData *key = &rotation->signer_key, *der = &rotation->certificate;

	if (for_all && key->len == sizeof g->signer_key) {
		memcpy(g->signer_key, key->data, key->len);
		journal_add(g->swarm->journal, g->index, JOURNAL_SIGNER, key->data, key->len);
		swarm_ledger(g, "pinned", 0, 0, 0, "");
	} else if (!for_all && der->len > 0) {
		certificate_set(&g->renewed, der->data, der->len);
		journal_add(g->swarm->journal, g->index, JOURNAL_CERTIFICATE, der->data, der->len);
		swarm_ledger(g, "renewed", 0, 0, 0, "");
	} else {
		return HF_EINVAL;
	}
	return 0;
}

static int verify(struct sim_gateway *g, bool for_all, const Holdfast__Signed *packet,
		  Holdfast__Change **change, struct hf_errmsg *why)
{
	return hf_change_verify(g->signer_key, for_all ? 0 : g->swarm->all.tenant,
				for_all ? 0 : g->identity.gateway, packet, change, why);
}

void sim_rotate(struct sim_path *path, uint64_t request, const Holdfast__Signed *packet)
{
	struct sim_gateway *g = path->gateway;
	Holdfast__Rotation *rotation = NULL;
	struct hf_errmsg why = {""};
	Holdfast__Change *change;
	bool for_all = true;
	int err = verify(g, true, packet, &change, &why);

	if (err) {
		for_all = false;
		err = verify(g, false, packet, &change, &why);
	}
	if (err) {
		sim_refuse(path, request, err, why.text, false);
		return;
	}
	if (change->kind_case == HOLDFAST__CHANGE__KIND_ROTATION)
		rotation = holdfast__rotation__unpack(NULL, change->rotation.len,
						      change->rotation.data);
	err = rotation ? take_rotation(g, rotation, for_all) : HF_EINVAL;
	if (err)
		sim_refuse(path, request, err, "a rotation of nothing that is known here", false);
	else
		answer_durably(path, request);
	holdfast__rotation__free_unpacked(rotation, NULL);
	holdfast__change__free_unpacked(change, NULL);
}

void sim_confirm(struct sim_path *path, uint64_t request, const Holdfast__Signed *packet)
{
	struct hf_errmsg why = {""};
	Holdfast__Change *change;
	int err = verify(path->gateway, false, packet, &change, &why);

	if (!err) {
		if (change->kind_case != HOLDFAST__CHANGE__KIND_CONFIRMATION)
			err = hf_fail(&why, HF_EINVAL, "the change holds no confirmation");
		holdfast__change__free_unpacked(change, NULL);
	}
	if (err) {
		sim_refuse(path, request, err, why.text, false);
		return;
	}
	swarm_ledger(path->gateway, "confirmed", 0, 0, 0, "");
	sim_answer_plainly(path, request, 0, NULL);
}
