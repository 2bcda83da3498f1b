/* Lost gateways, and alerts about them: part of registry.h, whose rules hold for these calls too.
 */
#ifndef HF_PROVIDER_REGISTRY_ALERTS_H
#define HF_PROVIDER_REGISTRY_ALERTS_H

#include "provider/registry/registry.h"

#define HF_REG_ALERTS_MAX 1000u /* that wait; more drop the oldest */

enum hf_reg_alert_kind { HF_REG_ALERT_LOST = 1, HF_REG_ALERT_FOUND = 2 };

struct hf_reg_alert {
	uint64_t number; /* its id, never used again */
	uint64_t gateway;
	enum hf_reg_alert_kind kind;
	uint64_t at_ms; /* since 1970 */
	char detail[HF_REG_REASON_MAX + 1];
	uint64_t attempts; /* to deliver it, with the one just taken */
	uint64_t due_ms;
};

/* The holder with this epoch does not hear the gateway any more: notes it and raises an alert, in
 * one transaction. HF_EFENCED: somebody else was granted it since; HF_EEXIST: it is lost already.
 * *dropped: an older alert made room. */
int hf_registry_gateway_lost(struct hf_registry *reg, uint64_t gateway, uint64_t epoch,
			     uint64_t now_ms, const char *detail, bool *dropped);
/* It is held again; HF_ENOENT: it was not lost. */
int hf_registry_gateway_found(struct hf_registry *reg, uint64_t gateway, uint64_t now_ms,
			      const char *detail, bool *dropped);
/* HF_ENOENT: it is not lost. */
int hf_registry_lost_since(struct hf_registry *reg, uint64_t gateway, uint64_t *at_ms);
/* Those that are lost. */
int hf_registry_lost_visit(struct hf_registry *reg, int (*visit)(void *context, uint64_t gateway),
			   void *context);
/* The oldest alert that is due, for this process until `until_ms`; HF_ENOENT: none. */
int hf_registry_alert_take(struct hf_registry *reg, uint64_t now_ms, uint64_t until_ms,
			   struct hf_reg_alert *alert);
int hf_registry_alert_later(struct hf_registry *reg, uint64_t number, uint64_t due_ms);
/* Delivered, or given up. */
int hf_registry_alert_done(struct hf_registry *reg, uint64_t number);
int hf_registry_alert_count(struct hf_registry *reg, uint64_t *count);
/* Active gateways that were connected once, are held by no process and were last seen before
 * `before_ms`, with their epochs; without those that are noted as lost. */
int hf_registry_unheld_visit(struct hf_registry *reg, uint64_t before_ms,
			     int (*visit)(void *context, uint64_t gateway, uint64_t epoch),
			     void *context);

#endif
