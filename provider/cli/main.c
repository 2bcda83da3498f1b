/* `holdfast`, the administrator's command at the provider: reads the command line, asks the
 * provider one question over RUN_DIR/provider.sock, prints the answer. The exit status is that of
 * the error (base/err.h). Secrets are read from files and wiped. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/local.h"
#include "proto/provider.pb-c.h"
#include "provider/cli/args.h"
#include "provider/cli/authorities.h"
#include "provider/cli/output.h"
#include "provider/cli/signer.h"
#include "provider/cli/watch.h"

#define SECRET_MAX       256u
#define ANSWER_MARGIN_MS 30000u /* the provider answers before we give up on it */

/* The first line of the file, without its end. */
static int read_secret(const char *path, char secret[SECRET_MAX], struct hf_errmsg *message)
{
	struct stat st;
	ssize_t length;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return hf_fail(message, hf_err_from_errno(errno), "%s: %s", path, strerror(errno));
	if (fstat(fd, &st) == 0 && (st.st_mode & 077) != 0)
		fprintf(stderr, "holdfast: warning: %s can be read by others\n", path);
	length = read(fd, secret, SECRET_MAX - 1);
	close(fd);
	if (length < 0)
		return hf_fail(message, HF_EIO, "%s: cannot be read", path);
	secret[length] = '\0';
	if (memchr(secret, '\0', (size_t)length))
		return hf_fail(message, HF_EINVAL, "%s: holds a zero byte, not a line of text",
			       path);
	secret[strcspn(secret, "\r\n")] = '\0';
	if (secret[0] == '\0')
		return hf_fail(message, HF_EINVAL, "%s: its first line is empty", path);
	return 0;
}

struct question {
	Holdfast__AdminRequest request;
	Holdfast__AdminGatewayList gateway_list;
	Holdfast__AdminGatewayName gateway_name;
	Holdfast__AdminActivate activate;
	Holdfast__AdminConfirm confirm;
	Holdfast__AdminVolumeCreate create;
	Holdfast__AdminVolumeList volume_list;
	Holdfast__AdminVolumeName volume_name;
	Holdfast__AdminAttach attach;
	Holdfast__AdminGrow grow;
	Holdfast__AdminChap chap;
	Holdfast__AdminInfo info;
	Holdfast__AdminAuthorities authorities;
	Holdfast__AdminAccept accept;
	Holdfast__AdminAct act;
	Holdfast__AdminNetwork network;
	Holdfast__AdminActionList action_list;
	Holdfast__AdminActionName action_name;
	char chap_secret[SECRET_MAX], mutual_secret[SECRET_MAX], proxy_password[SECRET_MAX];
};

static char *text(const char *value)
{
	return (char *)(uintptr_t)(value ? value : "");
}

static int read_secrets(struct question *q, const struct hf_cli_args *args,
			struct hf_errmsg *message)
{
	int err = 0;

	if (args->chap_secret_file)
		err = read_secret(args->chap_secret_file, q->chap_secret, message);
	if (!err && args->mutual_secret_file)
		err = read_secret(args->mutual_secret_file, q->mutual_secret, message);
	return err;
}

static int build_chap(struct question *q, const struct hf_cli_args *args, struct hf_errmsg *message)
{
	holdfast__admin_chap__init(&q->chap);
	q->chap.volume = text(args->operand);
	q->chap.chap_user = text(args->chap_user);
	q->chap.mutual_user = text(args->mutual_user);
	q->chap.chap_secret = q->chap_secret;
	q->chap.mutual_secret = q->mutual_secret;
	q->request.kind_case = HOLDFAST__ADMIN_REQUEST__KIND_VOLUME_CHAP;
	q->request.volume_chap = &q->chap;
	return read_secrets(q, args, message);
}

static int build_create(struct question *q, const struct hf_cli_args *args,
			struct hf_errmsg *message)
{
	holdfast__admin_volume_create__init(&q->create);
	q->create.gateway = text(args->gateway);
	q->create.name = text(args->name);
	q->create.size_bytes = args->size_bytes;
	q->create.write_cache = args->write_cache;
	q->create.block_size = args->block_size;
	q->create.chap_user = text(args->chap_user);
	q->create.mutual_user = text(args->mutual_user);
	q->create.n_initiators = args->initiator_count;
	q->create.initiators = (char **)(uintptr_t)args->initiators;
	q->create.chap_secret = q->chap_secret;
	q->create.mutual_secret = q->mutual_secret;
	q->request.kind_case = HOLDFAST__ADMIN_REQUEST__KIND_VOLUME_CREATE;
	q->request.volume_create = &q->create;
	return read_secrets(q, args, message);
}

static void build_gateway(struct question *q, const struct hf_cli_args *args)
{
	holdfast__admin_gateway_list__init(&q->gateway_list);
	holdfast__admin_gateway_name__init(&q->gateway_name);
	holdfast__admin_activate__init(&q->activate);
	holdfast__admin_confirm__init(&q->confirm);
	q->gateway_name.gateway = q->activate.key = q->confirm.gateway = text(args->operand);
	q->activate.name = text(args->name);
	switch (args->verb->number) {
	case HF_VERB_GATEWAY_LIST:
		q->request.kind_case = HOLDFAST__ADMIN_REQUEST__KIND_GATEWAY_LIST;
		q->request.gateway_list = &q->gateway_list;
		break;
	case HF_VERB_GATEWAY_SHOW:
	case HF_VERB_GATEWAY_WATCH:
	case HF_VERB_GATEWAY_EVENTS:
		q->request.kind_case = HOLDFAST__ADMIN_REQUEST__KIND_GATEWAY_SHOW;
		q->request.gateway_show = &q->gateway_name;
		break;
	case HF_VERB_GATEWAY_PLAN:
		q->request.kind_case = HOLDFAST__ADMIN_REQUEST__KIND_GATEWAY_PLAN;
		q->request.gateway_plan = &q->gateway_name;
		break;
	case HF_VERB_GATEWAY_ACTIVATE:
		q->request.kind_case = HOLDFAST__ADMIN_REQUEST__KIND_ACTIVATE;
		q->request.activate = &q->activate;
		break;
	case HF_VERB_GATEWAY_REVOKE:
		q->request.kind_case = HOLDFAST__ADMIN_REQUEST__KIND_GATEWAY_REVOKE;
		q->request.gateway_revoke = &q->gateway_name;
		break;
	case HF_VERB_GATEWAY_CLAIMANTS:
		q->request.kind_case = HOLDFAST__ADMIN_REQUEST__KIND_GATEWAY_CLAIMANTS;
		q->request.gateway_claimants = &q->gateway_name;
		break;
	case HF_VERB_GATEWAY_ACCEPT:
		holdfast__admin_accept__init(&q->accept);
		q->accept.gateway = text(args->operand);
		q->accept.claimant = args->claimant;
		q->request.kind_case = HOLDFAST__ADMIN_REQUEST__KIND_GATEWAY_ACCEPT;
		q->request.gateway_accept = &q->accept;
		break;
	default:
		q->request.kind_case = HOLDFAST__ADMIN_REQUEST__KIND_CONFIRM;
		q->request.confirm = &q->confirm;
		break;
	}
}

static void build_act(struct question *q, const struct hf_cli_args *args)
{
	holdfast__admin_act__init(&q->act);
	q->act.gateway = text(args->operand);
	q->act.kind = args->action;
	q->act.tgtd = args->tgtd;
	q->act.expires_s = args->expires_s;
	q->request.kind_case = HOLDFAST__ADMIN_REQUEST__KIND_ACT;
	q->request.act = &q->act;
}

static int build_network(struct question *q, const struct hf_cli_args *args,
			 struct hf_errmsg *message)
{
	int err = 0;

	holdfast__admin_network__init(&q->network);
	q->network.gateway = text(args->operand);
	q->network.endpoints = (char **)(uintptr_t)args->endpoints;
	q->network.n_endpoints = args->endpoint_count;
	q->network.proxy = text(args->proxy);
	q->network.confirm_s = args->confirm_s;
	q->network.proxy_user = text(args->proxy_user);
	if (args->proxy_password_file)
		err = read_secret(args->proxy_password_file, q->proxy_password, message);
	q->network.proxy_password = q->proxy_password;
	q->request.kind_case = HOLDFAST__ADMIN_REQUEST__KIND_GATEWAY_NETWORK;
	q->request.gateway_network = &q->network;
	return err;
}

static void build_action(struct question *q, const struct hf_cli_args *args)
{
	holdfast__admin_action_list__init(&q->action_list);
	holdfast__admin_action_name__init(&q->action_name);
	q->action_list.gateway = text(args->gateway);
	q->action_name.action = text(args->operand);
	if (args->verb->number == HF_VERB_ACTION_LIST) {
		q->request.kind_case = HOLDFAST__ADMIN_REQUEST__KIND_ACTION_LIST;
		q->request.action_list = &q->action_list;
	} else {
		q->request.kind_case = HOLDFAST__ADMIN_REQUEST__KIND_ACTION_SHOW;
		q->request.action_show = &q->action_name;
	}
}

static void build_volume(struct question *q, const struct hf_cli_args *args)
{
	holdfast__admin_volume_list__init(&q->volume_list);
	holdfast__admin_volume_name__init(&q->volume_name);
	holdfast__admin_attach__init(&q->attach);
	holdfast__admin_grow__init(&q->grow);
	q->volume_name.volume = q->attach.volume = text(args->operand);
	q->volume_name.force = (args->given & HF_OPT_FORCE) != 0;
	q->attach.gateway = text(args->gateway);
	q->attach.force = (args->given & HF_OPT_FORCE) != 0;
	q->grow.volume = text(args->operand);
	q->grow.size_bytes = args->size_bytes;
	switch (args->verb->number) {
	case HF_VERB_VOLUME_LIST:
		q->request.kind_case = HOLDFAST__ADMIN_REQUEST__KIND_VOLUME_LIST;
		q->request.volume_list = &q->volume_list;
		break;
	case HF_VERB_VOLUME_SHOW:
		q->request.kind_case = HOLDFAST__ADMIN_REQUEST__KIND_VOLUME_SHOW;
		q->request.volume_show = &q->volume_name;
		break;
	case HF_VERB_VOLUME_ATTACH:
		q->request.kind_case = HOLDFAST__ADMIN_REQUEST__KIND_VOLUME_ATTACH;
		q->request.volume_attach = &q->attach;
		break;
	case HF_VERB_VOLUME_DETACH:
		q->request.kind_case = HOLDFAST__ADMIN_REQUEST__KIND_VOLUME_DETACH;
		q->request.volume_detach = &q->volume_name;
		break;
	case HF_VERB_VOLUME_GROW:
		q->request.kind_case = HOLDFAST__ADMIN_REQUEST__KIND_VOLUME_GROW;
		q->request.volume_grow = &q->grow;
		break;
	default:
		q->request.kind_case = HOLDFAST__ADMIN_REQUEST__KIND_VOLUME_DELETE;
		q->request.volume_delete = &q->volume_name;
		break;
	}
}

static int build(struct question *q, const struct hf_cli_args *args, struct hf_errmsg *message)
{
	holdfast__admin_request__init(&q->request);
	q->request.wait_ms = args->given & HF_OPT_WAIT ? args->timeout_ms : 0;
	q->request.dry_run = (args->given & HF_OPT_DRY_RUN) != 0;
	if (args->verb->number == HF_VERB_VOLUME_CREATE)
		return build_create(q, args, message);
	if (args->verb->number == HF_VERB_VOLUME_CHAP)
		return build_chap(q, args, message);
	if (args->verb->number == HF_VERB_GATEWAY_NETWORK)
		return build_network(q, args, message);
	if (args->verb->number == HF_VERB_GATEWAY_ACT) {
		build_act(q, args);
	} else if (strcmp(args->verb->group, "action") == 0) {
		build_action(q, args);
	} else if (strcmp(args->verb->group, "gateway") == 0) {
		build_gateway(q, args);
	} else if (strcmp(args->verb->group, "volume") == 0) {
		build_volume(q, args);
	} else if (args->verb->number == HF_VERB_SIGNER_CA) {
		holdfast__admin_authorities__init(&q->authorities);
		q->request.kind_case = HOLDFAST__ADMIN_REQUEST__KIND_AUTHORITIES;
		q->request.authorities = &q->authorities;
	} else {
		holdfast__admin_info__init(&q->info);
		q->request.kind_case = HOLDFAST__ADMIN_REQUEST__KIND_INFO;
		q->request.info = &q->info;
	}
	return 0;
}

static int ask(const char *path, const struct question *q, Holdfast__AdminAnswer **answer,
	       struct hf_errmsg *message)
{
	size_t length = holdfast__admin_request__get_packed_size(&q->request), answer_length = 0;
	uint8_t *bytes = malloc(length + 1), *reply = NULL;
	int err;

	if (!bytes)
		return hf_fail(message, HF_ENOMEM, "out of memory");
	holdfast__admin_request__pack(&q->request, bytes);
	err = hf_local_ask(path, bytes, length, q->request.wait_ms + ANSWER_MARGIN_MS, &reply,
			   &answer_length, message);
	explicit_bzero(bytes, length);
	free(bytes);
	if (err)
		return hf_fail_in(message, err, "the provider does not answer at %s", path);
	*answer = holdfast__admin_answer__unpack(NULL, answer_length, reply);
	free(reply);
	return *answer ? 0 : hf_fail(message, HF_EPROTO, "the provider's answer is not understood");
}

static int print_answer(const struct hf_cli_args *args, const Holdfast__AdminAnswer *answer,
			struct hf_errmsg *message)
{
	json_t *value = answer->json[0] ? json_loads(answer->json, 0, NULL) : NULL, *events;

	if (value && !answer->error && args->verb->number == HF_VERB_GATEWAY_EVENTS) {
		events = json_incref(json_object_get(value, "events"));
		json_decref(value);
		value = events ? events : json_array(); /* it is away */
	}
	if (value)
		hf_cli_print(stdout, args->verb, value, (args->given & HF_OPT_JSON) != 0);
	json_decref(value);
	if (answer->error)
		return hf_fail(message, -answer->error, "%s",
			       answer->reason[0] ? answer->reason : hf_err_text(-answer->error));
	if (answer->reason[0])
		fprintf(stderr, "holdfast: %s\n", answer->reason);
	return value ? 0 : hf_fail(message, HF_EPROTO, "the provider's answer is empty");
}

static int socket_path(const struct hf_cli_args *args, char path[PATH_MAX],
		       struct hf_errmsg *message)
{
	const char *folder = args->run_dir ? args->run_dir : getenv("HOLDFAST_PROVIDER_RUN");

	if (!folder || !folder[0])
		return hf_fail(message, HF_EINVAL,
			       "where is the provider? Set HOLDFAST_PROVIDER_RUN or give --run-dir "
			       "(its run_dir)");
	if (snprintf(path, PATH_MAX, "%s/provider.sock", folder) > 107)
		return hf_fail(message, HF_ETOOBIG, "the run folder's path is too long: %.100s…",
			       folder);
	return 0;
}

struct watched {
	const char *path;
	const struct question *question;
};

static int show(void *context, json_t **gateway, struct hf_errmsg *message)
{
	const struct watched *watched = context;
	Holdfast__AdminAnswer *answer = NULL;
	int err = ask(watched->path, watched->question, &answer, message);

	if (err)
		return err;
	*gateway = answer->error ? NULL : json_loads(answer->json, 0, NULL);
	if (answer->error)
		err = hf_fail(message, -answer->error, "%s", answer->reason);
	else if (!*gateway)
		err = hf_fail(message, HF_EPROTO, "the provider's answer is empty");
	holdfast__admin_answer__free_unpacked(answer, NULL);
	return err;
}

static int run(const struct hf_cli_args *args, struct hf_errmsg *message)
{
	Holdfast__AdminAnswer *answer = NULL;
	struct question q = {.chap_secret = ""};
	char path[PATH_MAX];
	int err;

	if (args->verb->number == HF_VERB_SIGNER_ROTATE)
		return hf_cli_rotate(args, message);
	err = build(&q, args, message);
	if (!err)
		err = socket_path(args, path, message);
	if (!err && args->verb->number == HF_VERB_SIGNER_CA)
		return hf_cli_authorities(args, show, &(struct watched){path, &q}, message);
	/* The signer hears of it from us: it would not believe the provider. */
	if (!err && args->verb->number == HF_VERB_GATEWAY_ACTIVATE)
		err = hf_cli_approve(args, message);
	if (!err && args->verb->number == HF_VERB_GATEWAY_WATCH)
		return hf_cli_watch(args, show, &(struct watched){path, &q}, message);
	if (!err)
		err = ask(path, &q, &answer, message);
	explicit_bzero(q.chap_secret, sizeof q.chap_secret);
	explicit_bzero(q.mutual_secret, sizeof q.mutual_secret);
	explicit_bzero(q.proxy_password, sizeof q.proxy_password);
	if (err)
		return err;
	err = print_answer(args, answer, message);
	holdfast__admin_answer__free_unpacked(answer, NULL);
	return err;
}

int main(int argc, char **argv)
{
	struct hf_errmsg message = {""};
	struct hf_cli_args args;
	int err;

	if (argc == 2 && strcmp(argv[1], "--version") == 0) {
		printf("holdfast %s\n", HF_VERSION);
		return 0;
	}
	err = hf_cli_parse(argc, argv, &args, &message);
	if (!err && (args.given & HF_OPT_HELP)) {
		hf_cli_help(stdout, args.verb);
		return 0;
	}
	if (!err)
		err = run(&args, &message);
	if (err)
		fprintf(stderr, "holdfast: %s\n", message.text);
	return hf_err_exit_status(err);
}
