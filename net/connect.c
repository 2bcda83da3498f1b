/* The race of net/connect.h, on its loop's thread. An attempt is a socket with its own uv_poll; its
 * memory lives until that handle has closed, whatever became of the race.
 *
 *   RESOLVING → RACING → RESTING (one was handed over) → RACING … → OVER (failed was told)
 */
#include "net/connect.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/list.h"

#define CONNECT_MAGIC 0x434e4354u
#define REASON_MAX    200u

enum attempt_state { LEFT, UNDER_WAY, FAILED, USED };

struct attempt {
	struct hf_connect *owner; /* NULL: nobody waits for it any more */
	unsigned index;
	int fd;
	uv_poll_t poll;
};

struct hf_connect {
	uint32_t magic;
	enum { RESOLVING, RACING, RESTING, OVER } state;
	struct hf_connect_callbacks callbacks;
	char host[256];
	uint16_t port;
	struct hf_connect_address addresses[HF_CONNECT_ADDRESSES];
	enum attempt_state states[HF_CONNECT_ADDRESSES];
	struct attempt *attempts[HF_CONNECT_ADDRESSES];
	unsigned count;
	uv_getaddrinfo_t resolver;
	bool resolving, closing;
	uv_timer_t next, deadline;
	unsigned handles; /* of the two timers, not yet closed */
	char reason[REASON_MAX];
};

static void start_next(struct hf_connect *race);

/* ---- Addresses ---- */

void hf_connect_interleave(struct hf_connect_address *addresses, unsigned count)
{
	struct hf_connect_address sorted[HF_CONNECT_ADDRESSES];
	bool taken[HF_CONNECT_ADDRESSES] = {false};
	sa_family_t wanted = count ? addresses[0].address.ss_family : 0;

	HF_ASSERT(count <= HF_CONNECT_ADDRESSES);
	for (unsigned i = 0; i < count; i++) {
		unsigned pick = count;

		for (unsigned k = 0; k < count; k++) {
			if (taken[k])
				continue;
			if (pick == count)
				pick = k; /* of the other family, if there is none of this one */
			if (addresses[k].address.ss_family == wanted) {
				pick = k;
				break;
			}
		}
		taken[pick] = true;
		sorted[i] = addresses[pick];
		wanted = sorted[i].address.ss_family == AF_INET ? AF_INET6 : AF_INET;
	}
	memcpy(addresses, sorted, count * sizeof *sorted);
}

static void format(const struct hf_connect_address *from, char text[HF_ADDRESS_TEXT_MAX])
{
	char host[48], port[8];

	if (getnameinfo((const struct sockaddr *)&from->address, from->length, host, sizeof host,
			port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV) != 0)
		snprintf(text, HF_ADDRESS_TEXT_MAX, "?");
	else
		snprintf(text, HF_ADDRESS_TEXT_MAX, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host,
			 port);
}

/* The first of each family always finds a place, however many of the other one there are. */
static void take_addresses(struct hf_connect *race, const struct addrinfo *found)
{
	unsigned of_first = 0;
	bool other = false;

	for (const struct addrinfo *a = found; a; a = a->ai_next)
		other |= a->ai_family != found->ai_family;
	for (const struct addrinfo *a = found; a && race->count < HF_CONNECT_ADDRESSES;
	     a = a->ai_next) {
		struct hf_connect_address *to = &race->addresses[race->count];

		if ((a->ai_family != AF_INET && a->ai_family != AF_INET6) ||
		    a->ai_addrlen > sizeof to->address)
			continue;
		if (a->ai_family == found->ai_family && other &&
		    of_first == HF_CONNECT_ADDRESSES / 2)
			continue;
		of_first += a->ai_family == found->ai_family;
		memcpy(&to->address, a->ai_addr, a->ai_addrlen);
		to->length = a->ai_addrlen;
		race->count++;
	}
	hf_connect_interleave(race->addresses, race->count);
}

static void tell_addresses(const struct hf_connect *race)
{
	char all[HF_CONNECT_ADDRESSES * (HF_ADDRESS_TEXT_MAX + 2)] = "";
	char one[HF_ADDRESS_TEXT_MAX];
	size_t used = 0;

	if (!race->callbacks.resolved)
		return;
	for (unsigned i = 0; i < race->count; i++) {
		format(&race->addresses[i], one);
		used += (size_t)snprintf(all + used, sizeof all - used, "%s%s", i ? ", " : "", one);
	}
	race->callbacks.resolved(race->callbacks.context, all);
}

/* ---- Attempts ---- */

static void on_attempt_closed(uv_handle_t *handle)
{
	struct attempt *attempt = handle->data;

	if (attempt->fd >= 0)
		close(attempt->fd);
	free(attempt);
}

/* Ends the attempt; gives its descriptor if `keep`, which is then the caller's. */
static int end_attempt(struct attempt *attempt, bool keep)
{
	int fd = attempt->fd;

	attempt->owner->attempts[attempt->index] = NULL;
	attempt->owner = NULL;
	if (keep)
		attempt->fd = -1;
	uv_poll_stop(&attempt->poll);
	uv_close((uv_handle_t *)&attempt->poll, on_attempt_closed);
	return keep ? fd : -1;
}

static void note_failure(struct hf_connect *race, unsigned index, const char *why)
{
	size_t used = strlen(race->reason);
	char address[HF_ADDRESS_TEXT_MAX];

	race->states[index] = FAILED;
	format(&race->addresses[index], address);
	snprintf(race->reason + used, sizeof race->reason - used, "%s%s: %s", used ? "; " : "",
		 address, why);
}

static void stop_race(struct hf_connect *race)
{
	uv_timer_stop(&race->next);
	uv_timer_stop(&race->deadline);
	for (unsigned i = 0; i < race->count; i++)
		if (race->attempts[i]) {
			end_attempt(race->attempts[i], false);
			race->states[i] = LEFT;
		}
}

static void won(struct hf_connect *race, struct attempt *attempt)
{
	char address[HF_ADDRESS_TEXT_MAX];
	unsigned index = attempt->index;
	int fd = end_attempt(attempt, true);

	race->states[index] = USED;
	race->state = RESTING;
	stop_race(race);
	format(&race->addresses[index], address);
	race->callbacks.connected(race->callbacks.context, fd, address);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct attempt *attempt = poll->data;
	struct hf_connect *race = attempt->owner;
	socklen_t length = sizeof(int);
	unsigned index = attempt->index;
	int number = 0;

	(void)events;
	HF_CHECK_MAGIC(race, CONNECT_MAGIC);
	if (getsockopt(attempt->fd, SOL_SOCKET, SO_ERROR, &number, &length) != 0)
		number = errno;
	if (number == 0 && status < 0)
		number = -status;
	if (number == 0) {
		won(race, attempt);
		return;
	}
	end_attempt(attempt, false);
	note_failure(race, index, strerror(number));
	start_next(race);
}

/* 0: under way; else the reason is noted. */
static int start_attempt(struct hf_connect *race, unsigned index)
{
	const struct hf_connect_address *to = &race->addresses[index];
	struct attempt *attempt = calloc(1, sizeof *attempt);
	int fd = socket(to->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int number = fd < 0 ? errno : 0;

	if (fd >= 0 && connect(fd, (const struct sockaddr *)&to->address, to->length) != 0 &&
	    errno != EINPROGRESS)
		number = errno;
	if (!number && (!attempt || uv_poll_init(race->next.loop, &attempt->poll, fd) != 0))
		number = ENOMEM;
	if (number) {
		note_failure(race, index, strerror(number));
		if (fd >= 0)
			close(fd);
		free(attempt);
		return HF_ECONN;
	}
	attempt->owner = race;
	attempt->index = index;
	attempt->fd = fd;
	attempt->poll.data = attempt;
	race->attempts[index] = attempt;
	race->states[index] = UNDER_WAY;
	uv_poll_start(&attempt->poll, UV_WRITABLE, on_poll);
	return 0;
}

/* ---- The race ---- */

static void fail(struct hf_connect *race, enum hf_hop hop, int err)
{
	race->state = OVER;
	stop_race(race);
	race->callbacks.failed(race->callbacks.context, hop, err, race->reason);
}

static void on_next(uv_timer_t *timer)
{
	start_next(timer->data);
}

/* The next address that is left; fails when there is none and none is under way. */
static void start_next(struct hf_connect *race)
{
	bool under_way = false;

	HF_CHECK_MAGIC(race, CONNECT_MAGIC);
	for (unsigned i = 0; i < race->count; i++)
		if (race->states[i] == LEFT && start_attempt(race, i) == 0) {
			uv_timer_start(&race->next, on_next, HF_CONNECT_DELAY_MS, 0);
			return;
		}
	for (unsigned i = 0; i < race->count; i++)
		under_way |= race->states[i] == UNDER_WAY;
	if (!under_way)
		fail(race, HF_HOP_TCP, HF_ECONN);
}

static void on_deadline(uv_timer_t *timer)
{
	struct hf_connect *race = timer->data;

	HF_CHECK_MAGIC(race, CONNECT_MAGIC);
	for (unsigned i = 0; i < race->count; i++)
		if (race->attempts[i]) {
			end_attempt(race->attempts[i], false);
			note_failure(race, i, "no answer");
		}
	fail(race, HF_HOP_TCP, HF_ETIMEDOUT);
}

static void begin(struct hf_connect *race)
{
	race->state = RACING;
	race->reason[0] = '\0';
	uv_timer_start(&race->deadline, on_deadline, HF_CONNECT_MS, 0);
	start_next(race);
}

static void end_if_closed(struct hf_connect *race)
{
	if (!race->closing || race->handles > 0 || race->resolving)
		return;
	race->magic = 0;
	free(race);
}

static const char *explain_dns(int status)
{
	switch (status) {
	case UV_EAI_NONAME:
	case UV_EAI_NODATA:
		return "no such name; check the name and the name servers of this machine";
	case UV_EAI_AGAIN:
		return "no name server answers; check the network and /etc/resolv.conf";
	case UV_EAI_FAIL:
		return "the name server refuses to answer";
	default:
		return uv_strerror(status);
	}
}

static void on_resolved(uv_getaddrinfo_t *resolver, int status, struct addrinfo *found)
{
	struct hf_connect *race = hf_container_of(resolver, struct hf_connect, resolver);

	HF_CHECK_MAGIC(race, CONNECT_MAGIC);
	race->resolving = false;
	if (!race->closing && status == 0)
		take_addresses(race, found);
	uv_freeaddrinfo(found);
	if (race->closing) {
		end_if_closed(race);
	} else if (race->count == 0) {
		snprintf(race->reason, sizeof race->reason, "%.100s: %s", race->host,
			 status ? explain_dns(status) : "the name has no address");
		fail(race, HF_HOP_DNS, HF_ECONN);
	} else {
		tell_addresses(race);
		if (!race->closing)
			begin(race);
	}
}

/* ---- The public face ---- */

int hf_connect_open(uv_loop_t *loop, const char *host, uint16_t port,
		    const struct hf_connect_callbacks *callbacks, struct hf_connect **out)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
	struct hf_connect *race = calloc(1, sizeof *race);
	char service[8];

	if (!race)
		return HF_ENOMEM;
	race->magic = CONNECT_MAGIC;
	race->callbacks = *callbacks;
	race->port = port;
	snprintf(race->host, sizeof race->host, "%s", host);
	snprintf(service, sizeof service, "%u", port);
	if (uv_getaddrinfo(loop, &race->resolver, on_resolved, race->host, service, &hints) != 0) {
		free(race);
		return HF_ENOMEM;
	}
	race->resolving = true;
	race->next.data = race->deadline.data = race;
	uv_timer_init(loop, &race->next);
	uv_timer_init(loop, &race->deadline);
	race->handles = 2;
	*out = race;
	return 0;
}

void hf_connect_more(struct hf_connect *race)
{
	HF_CHECK_MAGIC(race, CONNECT_MAGIC);
	HF_ASSERT(race->state == RESTING && !race->closing);
	begin(race);
}

static void on_timer_closed(uv_handle_t *handle)
{
	struct hf_connect *race = handle->data;

	HF_CHECK_MAGIC(race, CONNECT_MAGIC);
	race->handles--;
	end_if_closed(race);
}

void hf_connect_close(struct hf_connect *race)
{
	HF_CHECK_MAGIC(race, CONNECT_MAGIC);
	HF_ASSERT(!race->closing);
	race->closing = true;
	stop_race(race);
	if (race->resolving)
		uv_cancel((uv_req_t *)&race->resolver);
	uv_close((uv_handle_t *)&race->next, on_timer_closed);
	uv_close((uv_handle_t *)&race->deadline, on_timer_closed);
}
