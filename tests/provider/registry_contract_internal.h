/* What the files of the contract share; nobody else includes this. */
#ifndef HF_TESTS_PROVIDER_REGISTRY_CONTRACT_INTERNAL_H
#define HF_TESTS_PROVIDER_REGISTRY_CONTRACT_INTERNAL_H

#include "tests/provider/registry_contract.h"

extern struct hf_registry *reg; /* that is tested, open */
void open_again(uint64_t now_ms);
void insert_gateway(uint64_t id, const char *name);

/* registry_contract_actions.c */
void test_action_life(void **state);
void test_actions_keep_their_order(void **state);
void test_actions_are_signed_anew_in_their_order(void **state);
void test_late_signatures_keep_the_order(void **state);
void test_actions_expire_only_unsent(void **state);
void test_actions_are_bounded(void **state);
void test_network_settings(void **state);
void test_deltas(void **state);

/* registry_contract_told.c */
void test_what_was_told(void **state);
void test_what_is_never_told(void **state);
void test_since_when(void **state);
void test_what_a_gateway_says(void **state);

#endif
