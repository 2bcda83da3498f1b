/* provider/cli/authorities.h. */
#include "provider/cli/authorities.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "provider/cli/output.h"
#include "provider/cli/signer.h"

static int rotate(const struct hf_cli_args *args, struct hf_errmsg *message)
{
	Holdfast__SignerRequest request = HOLDFAST__SIGNER_REQUEST__INIT;
	Holdfast__SignerAuthority order = HOLDFAST__SIGNER_AUTHORITY__INIT;
	Holdfast__SignerAnswer *answer;
	int err;

	request.kind_case = HOLDFAST__SIGNER_REQUEST__KIND_AUTHORITY;
	request.authority = &order;
	err = hf_cli_ask_signer(args, &request, &answer, message);
	if (err)
		return err;
	printf(args->given & HF_OPT_JSON ? "{\"version\": %" PRIu64 "}\n"
					 : "list of authorities: %" PRIu64 "\n",
	       answer->authorities_version);
	holdfast__signer_answer__free_unpacked(answer, NULL);
	return 0;
}

/* Their names, as many as fit. */
static void name_all(const json_t *depending, char *text, size_t size)
{
	size_t used = 0;

	text[0] = '\0';
	for (size_t i = 0; i < json_array_size(depending) && used + 80 < size; i++)
		used += (size_t)snprintf(
			text + used, size - used, "%s%.60s", i ? ", " : "",
			json_string_value(json_object_get(json_array_get(depending, i), "name")));
}

static int check_depending(const struct hf_cli_args *args, const json_t *depending,
			   struct hf_errmsg *message)
{
	size_t count = json_array_size(depending);
	char names[200];

	if (count == 0)
		return 0;
	if (args->given & HF_OPT_FORCE) {
		for (size_t i = 0; i < count; i++)
			fprintf(stderr,
				"holdfast: lost, to be activated anew unless it is connected "
				"now: %s\n",
				json_string_value(
					json_object_get(json_array_get(depending, i), "name")));
		return 0;
	}
	name_all(depending, names, sizeof names);
	return hf_fail(message, HF_EBUSY,
		       "%zu would have to be activated anew (--force does it): %s", count, names);
}

static int retire(const struct hf_cli_args *args,
		  int (*show)(void *context, json_t **object, struct hf_errmsg *message),
		  void *context, struct hf_errmsg *message)
{
	Holdfast__SignerRequest request = HOLDFAST__SIGNER_REQUEST__INIT;
	Holdfast__SignerRetirement order = HOLDFAST__SIGNER_RETIREMENT__INIT;
	Holdfast__SignerAnswer *answer;
	json_t *object = NULL;
	int err = show(context, &object, message);

	order.force = (args->given & HF_OPT_FORCE) != 0;
	if (!err)
		err = check_depending(args, json_object_get(object, "depending"), message);
	else if (order.force)
		err = 0; /* nobody can be named */
	json_decref(object);
	if (err)
		return err;
	request.kind_case = HOLDFAST__SIGNER_REQUEST__KIND_RETIREMENT;
	request.retirement = &order;
	err = hf_cli_ask_signer(args, &request, &answer, message);
	if (!err)
		holdfast__signer_answer__free_unpacked(answer, NULL);
	return err;
}

int hf_cli_authorities(const struct hf_cli_args *args,
		       int (*show)(void *context, json_t **object, struct hf_errmsg *message),
		       void *context, struct hf_errmsg *message)
{
	json_t *object;
	int err;

	if (strcmp(args->operand, "rotate") == 0)
		return rotate(args, message);
	if (strcmp(args->operand, "retire") == 0)
		return retire(args, show, context, message);
	if (strcmp(args->operand, "status") != 0)
		return hf_fail(message, HF_EINVAL, "`%.40s`: rotate, status or retire",
			       args->operand);
	err = show(context, &object, message);
	if (err)
		return err;
	hf_cli_print(stdout, args->verb, object, (args->given & HF_OPT_JSON) != 0);
	json_decref(object);
	return 0;
}
