/* What libnats is told (nats_options.h). The loop's thread at the start, afterwards a worker's. */
#include "provider/route/nats_options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/conf.h"
#include "base/file.h"

#define SERVERS_MAX 16

struct credentials {
	char *user, *password, *nkey, *nkey_seed, *certificate, *key;
};

static const struct hf_conf_key credential_keys[] = {
	{"user", HF_CONF_TEXT, offsetof(struct credentials, user), "", "user"},
	{"password", HF_CONF_TEXT, offsetof(struct credentials, password), "", "password"},
	{"nkey", HF_CONF_TEXT, offsetof(struct credentials, nkey), "", "public NKey"},
	{"nkey_seed", HF_CONF_TEXT, offsetof(struct credentials, nkey_seed), "",
	 "file with the seed of the NKey"},
	{"certificate", HF_CONF_TEXT, offsetof(struct credentials, certificate), "",
	 "PEM file of our certificate"},
	{"key", HF_CONF_TEXT, offsetof(struct credentials, key), "", "PEM file of its key"},
	{NULL},
};

int hf_nats_refuse(struct hf_errmsg *message, natsStatus status, const char *what)
{
	const char *why = nats_GetLastError(NULL);

	return hf_fail(message, HF_EINVAL, "%s: %s", what,
		       why && why[0] ? why : natsStatus_GetText(status));
}

static int read_credentials(const char *path, struct credentials *c, struct hf_errmsg *message)
{
	struct stat st;
	uint8_t *text;
	size_t length;
	int err;

	if (stat(path, &st) == 0 && (st.st_mode & 077) != 0)
		return hf_fail(message, HF_EACCES, "%s: others can read it; chmod 600", path);
	err = hf_file_read(path, 4096, &text, &length, message);
	if (err)
		return err;
	err = hf_conf_parse(path, (char *)text, credential_keys, c, message);
	explicit_bzero(text, length);
	free(text);
	return err;
}

/* A server may want a certificate, and that may be all that it wants. */
static int set_credentials(natsOptions *options, const char *path, struct hf_errmsg *message)
{
	struct credentials c = {NULL};
	natsStatus status = NATS_OK;
	int err = read_credentials(path, &c, message);

	if (err)
		return err;
	if ((!c.nkey[0] && (!c.user[0] || !c.password[0]) && !c.certificate[0]) ||
	    !c.certificate[0] != !c.key[0])
		err = hf_fail(message, HF_EINVAL,
			      "%s: user and password, nkey and nkey_seed, or certificate and key",
			      path);
	if (!err && c.nkey[0])
		status = natsOptions_SetNKeyFromSeed(options, c.nkey, c.nkey_seed);
	else if (!err && c.user[0])
		status = natsOptions_SetUserInfo(options, c.user, c.password);
	if (!err && status == NATS_OK && c.certificate[0])
		status = natsOptions_LoadCertificatesChain(options, c.certificate, c.key);
	if (status != NATS_OK)
		err = hf_nats_refuse(message, status, path);
	explicit_bzero(c.password, strlen(c.password));
	hf_conf_free(credential_keys, &c);
	return err;
}

static bool is_loopback(const char *server)
{
	return strncmp(server, "nats://127.", 11) == 0 ||
	       strncmp(server, "nats://[::1]", 12) == 0 ||
	       strncmp(server, "nats://localhost:", 17) == 0;
}

/* Splits `text`, which is changed, at its commas. */
static int split_servers(char *text, const char **servers, bool *tls, struct hf_errmsg *message)
{
	char *rest = NULL;
	int count = 0;

	*tls = strncmp(text, "tls://", 6) == 0;
	for (char *server = strtok_r(text, ", ", &rest); server;
	     server = strtok_r(NULL, ", ", &rest)) {
		if (count == SERVERS_MAX)
			return hf_fail(message, HF_ETOOBIG, "at most %d servers", SERVERS_MAX);
		if (strchr(server, '@') ||
		    (*tls ? strncmp(server, "tls://", 6) != 0 : !is_loopback(server)))
			return hf_fail(message, HF_EINVAL,
				       "a route is tls://HOST:PORT,… (or nats://HOST:PORT,… on "
				       "loopback), without user or password");
		servers[count++] = server;
	}
	return count > 0 ? count : hf_fail(message, HF_EINVAL, "a route needs a server");
}

static int set_tls(natsOptions *options, const struct hf_route_nats *settings,
		   struct hf_errmsg *message)
{
	natsStatus status;

	if (!settings->name[0] || !settings->ca[0])
		return hf_fail(message, HF_EINVAL,
			       "with tls:// `route_name` and `route_ca` say whose certificates "
			       "are trusted");
	status = natsOptions_SetSecure(options, true);
	if (status == NATS_OK)
		status = natsOptions_LoadCATrustedCertificates(options, settings->ca);
	if (status == NATS_OK)
		status = natsOptions_SetExpectedHostname(options, settings->name);
	return status == NATS_OK ? 0 : hf_nats_refuse(message, status, settings->ca);
}

static int set_servers(natsOptions *options, const struct hf_route_nats *settings,
		       struct hf_errmsg *message)
{
	const char *servers[SERVERS_MAX];
	char *text = strdup(settings->servers);
	natsStatus status;
	bool tls;
	int count, err = 0;

	if (!text)
		return hf_fail(message, HF_ENOMEM, "out of memory");
	count = split_servers(text, servers, &tls, message);
	if (count < 0) {
		err = count;
	} else {
		status = natsOptions_SetServers(options, servers, count);
		if (status != NATS_OK)
			err = hf_nats_refuse(message, status, settings->servers);
	}
	if (!err && tls)
		err = set_tls(options, settings, message);
	free(text);
	return err;
}

int hf_nats_options(const struct hf_route_nats *settings, natsOptions **options,
		    struct hf_errmsg *message)
{
	natsStatus status = natsOptions_Create(options);
	int err;

	if (status != NATS_OK)
		return hf_nats_refuse(message, status, "NATS");
	err = set_servers(*options, settings, message);
	if (!err && settings->credentials[0])
		err = set_credentials(*options, settings->credentials, message);
	else if (!err)
		err = hf_fail(message, HF_EINVAL,
			      "`route_credentials` says who we are to the NATS servers");
	if (err)
		natsOptions_Destroy(*options);
	return err;
}
