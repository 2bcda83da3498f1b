/* Signs what sigv4_oracle asks for: each line of standard input is a request, as hexadecimal words:
 * method, path, payload hash, date, number of query parameters, name and value of each, number of
 * headers, name and value of each. Prints the query string and the Authorization value. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "remote/sigv4.h"

static char arena[65536]; /* of the words of one line */
static size_t arena_used;

static char *next_word(void)
{
	char *hex = strtok(NULL, " \n"), *text;
	size_t length;

	HF_ASSERT(hex != NULL);
	if (strcmp(hex, "-") == 0)
		hex += 1;
	length = strlen(hex) / 2;
	text = arena + arena_used;
	arena_used += length + 1;
	HF_ASSERT(arena_used <= sizeof arena && hf_hex_decode(text, length, hex) == 0);
	text[length] = '\0';
	return text;
}

static unsigned next_fields(struct hf_sigv4_field *fields)
{
	unsigned count = (unsigned)atoi(next_word());

	HF_ASSERT(count <= HF_SIGV4_FIELDS_MAX);
	for (unsigned i = 0; i < count; i++) {
		fields[i].name = next_word();
		fields[i].value = next_word();
	}
	return count;
}

int main(int argc, char **argv)
{
	static char line[65536];
	struct hf_sigv4_signer signer = {0};

	HF_ASSERT(argc == 5);
	signer.access_key = argv[1];
	signer.secret_key = argv[2];
	signer.region = argv[3];
	signer.service = argv[4];
	while (fgets(line, sizeof line, stdin)) {
		struct hf_sigv4_field query[HF_SIGV4_FIELDS_MAX], headers[HF_SIGV4_FIELDS_MAX];
		char query_text[HF_SIGV4_QUERY_MAX], authorization[HF_SIGV4_AUTHORIZATION_MAX];
		struct hf_sigv4_request request = {.headers = headers, .query = query_text};

		arena_used = 0;
		strtok(line, " \n");
		request.method = next_word();
		request.path = next_word();
		request.payload_sha256 = next_word();
		request.date = next_word();
		HF_ASSERT(hf_sigv4_query(query, next_fields(query), query_text) == 0);
		request.header_count = next_fields(headers);
		HF_ASSERT(hf_sigv4_authorize(&signer, &request, authorization) == 0);
		printf("%s\n%s\n", query_text, authorization);
	}
	return 0;
}
