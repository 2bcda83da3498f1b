/* What tgtd has, as the broker's BrokerState. */
#ifndef HF_GATEWAY_BROKER_REPORT_H
#define HF_GATEWAY_BROKER_REPORT_H

#include "gateway/broker/operation.h"

/* Asks tgtd for targets and portals; `*state` is malloc'ed, freed with
 * holdfast__broker_state__free_unpacked. LUN 0, the guard and the markers are left out: they are
 * there always, and nobody else's business. */
int hf_op_report(struct hf_operation *op, Holdfast__BrokerState **state);

#endif
