/* bare_tls --identities FILE --count N: what N handshakes cost a server that does nothing else,
 * with the certificates and the settings of the management connection and nothing of ours around
 * them. One thread accepts, one connects, each connection from a gateway of its own; prints the
 * processor time of the accepting thread in µs per handshake, its socket calls included. */
#include <arpa/inet.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "net/identity.h"
#include "tests/channel/identities.h"

static struct identities all;
static unsigned count = 1000;
static struct sockaddr_in address;

static void use(SSL_CTX *context, const struct hf_sign_key *key, const struct certificate *own)
{
	EVP_PKEY *pkey = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, key->secret, 32);
	const uint8_t *at = all.authority.der;
	X509 *authority = d2i_X509(NULL, &at, (long)all.authority.length);

	if (!context || SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) != 1 ||
	    SSL_CTX_set1_sigalgs_list(context, "ed25519") != 1 ||
	    SSL_CTX_use_certificate_ASN1(context, (int)own->length, own->der) != 1 ||
	    SSL_CTX_use_PrivateKey(context, pkey) != 1 ||
	    X509_STORE_add_cert(SSL_CTX_get_cert_store(context), authority) != 1)
		die("TLS cannot be set up");
	SSL_CTX_set_num_tickets(context, 0);
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
	X509_free(authority);
	EVP_PKEY_free(pkey);
}

/* The gateways do not judge the server here: its certificate stays with the provider. */
static void *connect_all(void *unused)
{
	for (unsigned i = 0; i < count; i++) {
		SSL_CTX *context = SSL_CTX_new(TLS_client_method());
		struct identity identity;
		int fd = socket(AF_INET, SOCK_STREAM, 0);
		SSL *ssl;

		identity_derive(all.seed, i % all.count, &identity);
		use(context, &identity.key, &all.certificates[i % all.count]);
		ssl = SSL_new(context);
		if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0 ||
		    SSL_set_fd(ssl, fd) != 1 || SSL_connect(ssl) != 1)
			die("a handshake failed at the client");
		SSL_free(ssl);
		SSL_CTX_free(context);
		close(fd);
	}
	return unused;
}

static double cpu_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static void accept_all(SSL_CTX *context, int listener)
{
	int one = 1;

	for (unsigned i = 0; i < count; i++) {
		int fd = accept(listener, NULL, NULL);
		SSL *ssl = SSL_new(context);

		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
		if (SSL_set_fd(ssl, fd) != 1 || SSL_accept(ssl) != 1)
			die("a handshake failed at the server");
		SSL_free(ssl);
		close(fd);
	}
}

/* The real one is the provider's alone, so the server here is the last of the gateways. */
static SSL_CTX *server_context(void)
{
	SSL_CTX *context = SSL_CTX_new(TLS_server_method());
	struct identity identity;

	identity_derive(all.seed, all.count - 1, &identity);
	use(context, &identity.key, &all.certificates[all.count - 1]);
	SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	return context;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"identities", required_argument, NULL, 'i'},
						{"count", required_argument, NULL, 'n'},
						{NULL, 0, NULL, 0}};
	socklen_t length = sizeof address;
	pthread_t client;
	SSL_CTX *context;
	double began_us;
	int option, listener;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'i')
			identities_read(&all, optarg);
		else if (option == 'n')
			count = (unsigned)strtoul(optarg, NULL, 10);
		else
			return 2;
	}
	if (all.count == 0 || count == 0)
		die("--identities is wanted, and a count above 0");
	context = server_context();
	listener = socket(AF_INET, SOCK_STREAM, 0);
	address.sin_family = AF_INET;
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 ||
	    listen(listener, 64) != 0 ||
	    getsockname(listener, (struct sockaddr *)&address, &length) != 0)
		die("no socket");
	if (pthread_create(&client, NULL, connect_all, NULL) != 0)
		die("no thread");
	began_us = cpu_us();
	accept_all(context, listener);
	printf("%.1f\n", (cpu_us() - began_us) / count);
	pthread_join(client, NULL);
	SSL_CTX_free(context);
	close(listener);
	identities_free(&all);
	return 0;
}
