/* Desired state of volumes (volumes.h). A volume has a placement at each gateway that still knows
 * it: at most one is attached, the others are detached until a tombstone takes them away. */
#include "provider/control/volumes.h"

#include <inttypes.h>
#include <string.h>

#include "base/ids.h"
#include "provider/control/publish.h"
#include "provider/control/status.h"
#include "provider/registry/told.h"

#define LUN_NUMBER 1u

int hf_find_gateway(struct hf_control *control, const char *text, struct hf_reg_gateway *gateway,
		    struct hf_errmsg *message)
{
	uint64_t id;
	int err;

	if (hf_id_parse(HF_ID_GATEWAY, text, &id) == 0)
		err = hf_registry_gateway_get(control->reg, id, gateway);
	else
		err = hf_registry_gateway_find(control->reg, control->info.tenant, text, gateway);
	if (err == HF_ENOENT)
		return hf_fail(message, err, "there is no gateway %s; see `holdfast gateway list`",
			       text);
	return err ? hf_fail(message, err, "the registry: %.200s", hf_registry_why(control->reg))
		   : 0;
}

int hf_find_volume(struct hf_control *control, const char *text, struct hf_reg_volume *volume,
		   struct hf_errmsg *message)
{
	uint64_t id;
	int err;

	if (hf_id_parse(HF_ID_VOLUME, text, &id) == 0)
		err = hf_registry_volume_get(control->reg, id, volume);
	else
		err = hf_registry_volume_find(control->reg, control->info.tenant, text, volume);
	if (!err && volume->gone)
		err = HF_ENOENT;
	if (err == HF_ENOENT)
		return hf_fail(message, err, "there is no volume %s; see `holdfast volume list`",
			       text);
	return err ? hf_fail(message, err, "the registry: %.200s", hf_registry_why(control->reg))
		   : 0;
}

static int check_active(const struct hf_reg_gateway *gateway, struct hf_errmsg *message)
{
	if (gateway->state == HF_REG_GATEWAY_ACTIVE)
		return 0;
	return hf_fail(message, HF_EACCES, "gateway %s is not active%s", gateway->name,
		       gateway->state == HF_REG_GATEWAY_CLAIMED ? "; confirm it first" : "");
}

static int count_placement(void *context, const struct hf_reg_placement *placement)
{
	(void)placement;
	++*(unsigned *)context;
	return 0;
}

static int check_room(struct hf_control *control, uint64_t gateway, struct hf_errmsg *message)
{
	unsigned count = 0;
	int err = hf_registry_placement_visit(control->reg, 0, gateway, count_placement, &count);

	if (!err && count >= HF_VOLUMES_PER_GATEWAY_MAX)
		return hf_fail(message, HF_ENOSPC, "the gateway has its %u volumes",
			       HF_VOLUMES_PER_GATEWAY_MAX);
	return err;
}

int hf_volume_may_create(struct hf_control *control, const char *name,
			 const struct hf_reg_gateway *gateway, struct hf_errmsg *message)
{
	struct hf_reg_volume taken;
	int err = check_active(gateway, message);

	if (!err && hf_registry_volume_find(control->reg, control->info.tenant, name, &taken) == 0)
		err = hf_fail(message, HF_EEXIST, "a volume named %s exists", name);
	return err ? err : check_room(control, gateway->id, message);
}

static int registry_failed(struct hf_control *control, int err, struct hf_errmsg *message)
{
	return hf_fail(message, err, "the registry: %.200s", hf_registry_why(control->reg));
}

/* Begins a transaction and reads the volume as it is now, so that what is decided on it stays true:
 * another process may have changed it since it was found. */
static int start(struct hf_control *control, struct hf_reg_volume *volume,
		 struct hf_errmsg *message)
{
	char name[HF_REG_NAME_MAX + 1];
	int err = hf_registry_begin(control->reg);

	if (err)
		return registry_failed(control, err, message);
	snprintf(name, sizeof name, "%s", volume->name);
	err = hf_registry_volume_get(control->reg, volume->id, volume);
	if (!err && !volume->gone)
		return 0;
	if (!err || err == HF_ENOENT)
		err = hf_fail(message, HF_ENOENT, "%s was deleted", name);
	else
		registry_failed(control, err, message);
	return hf_registry_end(control->reg, err);
}

/* Takes everything back, once the document was built from it. */
static int finish_dry_run(struct hf_control *control, int err, uint64_t gateway,
			  struct hf_errmsg *message)
{
	struct hf_reg_gateway row;

	if (!err)
		err = hf_registry_gateway_get(control->reg, gateway, &row);
	if (!err)
		err = hf_publish_build(control, &row, &control->dry_run->document);
	hf_registry_end(control->reg, HF_ECANCELED);
	if (err && message->text[0])
		return err;
	return err ? hf_fail(message, err, "it could not be tried: %.200s",
			     hf_registry_why(control->reg))
		   : 0;
}

/* Ends the transaction, committing if `err` is 0; afterwards the gateway's document is on its way.
 * An error without a message is the registry's. */
static int finish(struct hf_control *control, int err, const char *who, const char *action,
		  const struct hf_reg_volume *volume, uint64_t gateway, struct hf_errmsg *message)
{
	char id[HF_ID_TEXT_MAX];

	if (control->dry_run)
		return finish_dry_run(control, err, gateway, message);
	if (!err)
		hf_control_audit(control, who, action, hf_id_format(HF_ID_VOLUME, volume->id, id),
				 volume->name);
	err = hf_registry_end(control->reg, err);
	if (err && message->text[0])
		return err;
	if (err == HF_EEXIST)
		return hf_fail(message, err, "a volume named %s exists", volume->name);
	if (err == HF_EUNKNOWN)
		return hf_fail(message, err, "%.200s; look at the volume",
			       hf_registry_why(control->reg));
	if (err)
		return hf_fail(message, err, "nothing was changed: %.200s",
			       hf_registry_why(control->reg));
	hf_publish_gateway(control, gateway);
	return 0;
}

/* Within a transaction: what this gateway is told about the volume from its next generation on. */
static int place(struct hf_control *control, uint64_t volume, uint64_t gateway,
		 enum hf_reg_desired desired, uint64_t attach_epoch)
{
	struct hf_reg_placement placement = {.volume = volume,
					     .gateway = gateway,
					     .desired = desired,
					     .attach_epoch = attach_epoch};
	int err = hf_registry_gateway_bump(control->reg, gateway, &placement.version);

	return err ? err : hf_registry_placement_put(control->reg, &placement);
}

int hf_volume_create(struct hf_control *control, const char *who, struct hf_reg_volume *volume,
		     struct hf_errmsg *message)
{
	int err;

	snprintf(volume->target, sizeof volume->target, "%s:vol-%016" PRIx64,
		 control->config.iqn_prefix, volume->id);
	volume->lun = LUN_NUMBER;
	volume->attach_epoch = 1;
	err = hf_registry_begin(control->reg);
	if (err)
		return registry_failed(control, err, message);
	err = hf_registry_volume_insert(control->reg, volume);
	if (!err)
		err = place(control, volume->id, volume->gateway, HF_REG_ATTACHED, 1);
	return finish(control, err, who, "volume create", volume, volume->gateway, message);
}

/* A gateway that was turned away for good reports nothing any more, and is told nothing. */
static bool is_revoked(struct hf_control *control, uint64_t gateway)
{
	struct hf_reg_gateway row;

	return hf_registry_gateway_get(control->reg, gateway, &row) == 0 &&
	       row.state == HF_REG_GATEWAY_REVOKED;
}

/* From a gateway that was revoked while the volume was there: its upload buffer may hold what
 * nobody else has, and the higher attach epoch fences it for good. */
static int check_loss(const struct hf_reg_volume *volume, const struct hf_reg_report *report,
		      bool force, struct hf_errmsg *message)
{
	uint64_t now_ms = hf_control_wall_ms();

	if (force)
		return 0;
	if (report->reported_ms == 0)
		return hf_fail(
			message, HF_EBUSY,
			"%s was at a gateway that was revoked, and all that was written to "
			"it may be lost: it never reported; --force attaches it all the same",
			volume->name);
	return hf_fail(message, HF_EBUSY,
		       "%s was at a gateway that was revoked; what that one had not uploaded is "
		       "lost: %" PRIu64 " bytes, %" PRIu64 " s old, as it reported %" PRIu64
		       " s ago, and all since; --force attaches it all the same",
		       volume->name, report->lag_bytes, report->age_ms / 1000,
		       now_ms > report->reported_ms ? (now_ms - report->reported_ms) / 1000 : 0);
}

/* Free to be attached: detached and reported so; failed, to be tried again where it is; or, by
 * force, at a gateway that was revoked. */
static int check_attachable(struct hf_control *control, const struct hf_reg_volume *volume,
			    const struct hf_reg_gateway *gateway, bool force,
			    struct hf_errmsg *message)
{
	char reason[HF_REG_REASON_MAX + 1];
	struct hf_reg_placement placement;
	enum hf_status status;
	int err = hf_status_of_volume(control, volume, &placement, &status, reason);

	if (err)
		return err;
	if (status == HF_STATUS_DETACHED)
		return 0;
	if (placement.desired != HF_REG_DELETED && is_revoked(control, volume->gateway))
		return check_loss(volume, &placement.report, force, message);
	if (status == HF_STATUS_FAILED && placement.desired == HF_REG_ATTACHED &&
	    gateway->id == volume->gateway)
		return 0;
	if (placement.desired == HF_REG_ATTACHED)
		return hf_fail(message, HF_EBUSY,
			       "%s is %s; detach it first (holdfast volume detach %s --wait)",
			       volume->name, hf_status_text(status), volume->name);
	return hf_fail(message, HF_EBUSY, "%s is %s; wait until it is detached", volume->name,
		       hf_status_text(status));
}

int hf_volume_attach(struct hf_control *control, const char *who, struct hf_reg_volume *volume,
		     const struct hf_reg_gateway *gateway, bool force, struct hf_errmsg *message)
{
	int err = check_active(gateway, message);

	if (!err)
		err = start(control, volume, message);
	if (err)
		return err;
	err = check_attachable(control, volume, gateway, force, message);
	if (!err && gateway->id != volume->gateway)
		err = check_room(control, gateway->id, message);
	if (!err && gateway->id != volume->gateway && is_revoked(control, volume->gateway))
		err = hf_registry_placement_remove(control->reg, volume->id, volume->gateway);
	volume->gateway = gateway->id;
	volume->attach_epoch++;
	if (!err)
		err = hf_registry_volume_update(control->reg, volume);
	if (!err)
		err = place(control, volume->id, gateway->id, HF_REG_ATTACHED,
			    volume->attach_epoch);
	return finish(control, err, who, "volume attach", volume, gateway->id, message);
}

int hf_volume_detach(struct hf_control *control, const char *who, struct hf_reg_volume *volume,
		     struct hf_errmsg *message)
{
	struct hf_reg_placement p;
	int err = start(control, volume, message);

	if (err)
		return err;
	err = hf_registry_placement_get(control->reg, volume->id, volume->gateway, &p);
	if (!err && p.desired == HF_REG_DETACHED)
		return hf_registry_end(control->reg, 0);
	if (!err && p.desired == HF_REG_DELETED)
		err = hf_fail(message, HF_EBUSY, "%s is being deleted", volume->name);
	if (!err)
		err = place(control, volume->id, volume->gateway, HF_REG_DETACHED,
			    volume->attach_epoch);
	return finish(control, err, who, "volume detach", volume, volume->gateway, message);
}

static int check_growable(const struct hf_reg_volume *volume, const struct hf_reg_placement *p,
			  uint64_t size_bytes, struct hf_errmsg *message)
{
	if (p->desired == HF_REG_DELETED)
		return hf_fail(message, HF_EBUSY, "%s is being deleted", volume->name);
	if (!volume->created)
		return hf_fail(message, HF_EBUSY, "%s is still being created", volume->name);
	if (size_bytes < volume->size_bytes)
		return hf_fail(message, HF_EINVAL,
			       "%s has %" PRIu64 " bytes and a volume cannot shrink", volume->name,
			       volume->size_bytes);
	return 0;
}

int hf_volume_grow(struct hf_control *control, const char *who, struct hf_reg_volume *volume,
		   uint64_t size_bytes, bool *attached, struct hf_errmsg *message)
{
	struct hf_reg_placement p;
	int err = start(control, volume, message);

	if (err)
		return err;
	err = hf_registry_placement_get(control->reg, volume->id, volume->gateway, &p);
	if (!err)
		err = check_growable(volume, &p, size_bytes, message);
	*attached = !err && p.desired == HF_REG_ATTACHED;
	if (!err && size_bytes == volume->size_bytes)
		return hf_registry_end(control->reg, 0);
	volume->size_bytes = size_bytes;
	if (!err)
		err = hf_registry_volume_update(control->reg, volume);
	if (!err)
		err = place(control, volume->id, volume->gateway, p.desired, p.attach_epoch);
	return finish(control, err, who, "volume grow", volume, volume->gateway, message);
}

static int check_chap(const struct hf_reg_volume *volume, const struct hf_reg_placement *p,
		      const struct hf_volume_chap *chap, struct hf_errmsg *message)
{
	if (p->desired == HF_REG_DELETED)
		return hf_fail(message, HF_EBUSY, "%s is being deleted", volume->name);
	if (volume->secrets_length != chap->from_length ||
	    memcmp(volume->secrets, chap->from, chap->from_length) != 0)
		return hf_fail(message, HF_EBUSY,
			       "the secrets of %s were changed meanwhile; try again", volume->name);
	if (chap->secrets_length == 0 || chap->secrets_length > sizeof volume->secrets)
		return hf_fail(message, HF_EPROTO, "the signer's secret is unfit");
	return 0;
}

int hf_volume_chap(struct hf_control *control, const char *who, struct hf_reg_volume *volume,
		   const struct hf_volume_chap *chap, bool *attached, struct hf_errmsg *message)
{
	struct hf_reg_placement p;
	int err = start(control, volume, message);

	if (err)
		return err;
	err = hf_registry_placement_get(control->reg, volume->id, volume->gateway, &p);
	if (!err)
		err = check_chap(volume, &p, chap, message);
	*attached = !err && p.desired == HF_REG_ATTACHED;
	if (!err) {
		snprintf(volume->chap_user, sizeof volume->chap_user, "%s", chap->user);
		if (chap->mutual_user[0])
			snprintf(volume->mutual_user, sizeof volume->mutual_user, "%s",
				 chap->mutual_user);
		memcpy(volume->secrets, chap->secrets, chap->secrets_length);
		volume->secrets_length = chap->secrets_length;
		err = hf_registry_volume_update(control->reg, volume);
	}
	if (!err)
		err = place(control, volume->id, volume->gateway, p.desired, p.attach_epoch);
	return finish(control, err, who, "volume chap", volume, volume->gateway, message);
}

/* ---- Delete ---- */

#define PLACEMENTS_MAX 64u

struct placements {
	struct hf_reg_placement items[PLACEMENTS_MAX];
	unsigned count;
};

static int collect(void *context, const struct hf_reg_placement *placement)
{
	struct placements *all = context;

	if (all->count == PLACEMENTS_MAX)
		return HF_ETOOBIG;
	all->items[all->count++] = *placement;
	return 0;
}

static int check_unused(struct hf_control *control, const struct hf_reg_volume *volume,
			struct hf_errmsg *message)
{
	char reason[HF_REG_REASON_MAX + 1];
	struct hf_reg_placement placement;
	enum hf_status status;
	int err = hf_status_of_volume(control, volume, &placement, &status, reason);

	if (!err && placement.desired == HF_REG_ATTACHED && placement.report.sessions > 0)
		return hf_fail(message, HF_EBUSY,
			       "%" PRIu64 " initiator sessions are logged in to %s; log out first, "
			       "or use --force",
			       placement.report.sessions, volume->name);
	return err;
}

/* One that its gateway was never told of: it is gone there at once, and nobody need be told. */
static int forget_untold(struct hf_control *control, const struct hf_reg_placement *p,
			 uint64_t generation)
{
	int err = hf_registry_placement_remove(control->reg, p->volume, p->gateway);

	return err ? err : hf_registry_gateway_untold(control->reg, p->gateway, generation);
}

/* Within a transaction. The gateway's row is changed first, so that what it was told stays true. */
static int delete_at(struct hf_control *control, const struct hf_reg_placement *p)
{
	struct hf_reg_gateway gateway;
	uint64_t generation;
	int err;

	if (is_revoked(control, p->gateway))
		return hf_registry_placement_remove(control->reg, p->volume, p->gateway);
	if (p->desired == HF_REG_DELETED)
		return 0;
	err = hf_registry_gateway_bump(control->reg, p->gateway, &generation);
	if (!err)
		err = hf_registry_gateway_get(control->reg, p->gateway, &gateway);
	if (err)
		return err;
	/* A process of an older version, while others were replaced, tells without noting it. */
	if (p->since > gateway.told && p->since > gateway.applied_generation &&
	    p->report.reported_ms == 0)
		return forget_untold(control, p, generation);
	return hf_registry_placement_put(control->reg,
					 &(struct hf_reg_placement){.volume = p->volume,
								    .gateway = p->gateway,
								    .desired = HF_REG_DELETED,
								    .attach_epoch = p->attach_epoch,
								    .version = generation});
}

/* The volume goes with its last placement; its name with the one where it was. */
static int remove_if_gone(struct hf_control *control, struct hf_reg_volume *volume)
{
	struct hf_reg_placement p;
	int err = hf_registry_placement_get(control->reg, volume->id, volume->gateway, &p);

	if (err != HF_ENOENT)
		return err;
	volume->gone = true;
	err = hf_registry_volume_update(control->reg, volume);
	if (!err)
		err = hf_registry_volume_remove(control->reg, volume->id);
	return err == HF_EBUSY ? 0 : err;
}

int hf_volume_delete(struct hf_control *control, const char *who, struct hf_reg_volume *volume,
		     bool force, struct hf_errmsg *message)
{
	struct placements all = {.count = 0};
	int err = start(control, volume, message);

	if (err)
		return err;
	if (!force)
		err = check_unused(control, volume, message);
	if (!err && is_revoked(control, volume->gateway))
		err = hf_fail(message, HF_EBUSY,
			      "its gateway was revoked; attach %s to another one, which deletes it",
			      volume->name);
	if (!err)
		err = hf_registry_placement_visit(control->reg, volume->id, 0, collect, &all);
	for (unsigned i = 0; !err && i < all.count; i++)
		err = delete_at(control, &all.items[i]);
	if (!err)
		err = remove_if_gone(control, volume);
	err = finish(control, err, who, "volume delete", volume, volume->gateway, message);
	for (unsigned i = 0; !err && i < all.count; i++)
		hf_publish_gateway(control, all.items[i].gateway);
	return err;
}
