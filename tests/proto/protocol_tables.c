/* Prints docs/protocol/messages.md: every message with its fields from the descriptors of the code,
 * and every rule of the session from its table. test_protocol_tables compares; whoever changes a
 * message writes it anew: build/release/tests/protocol_tables > docs/protocol/messages.md */
#include <stdio.h>

#include "base/assert.h"
#include "proto/action.pb-c.h"
#include "proto/document.pb-c.h"
#include "proto/session.h"

#define SEEN_MAX 128u

static const void *seen[SEEN_MAX]; /* descriptors, in the order they are printed */
static unsigned seen_count;

static bool note(const void *descriptor)
{
	for (unsigned i = 0; i < seen_count; i++)
		if (seen[i] == descriptor)
			return false;
	HF_ASSERT(seen_count < SEEN_MAX);
	seen[seen_count++] = descriptor;
	return true;
}

static const char *type_text(const ProtobufCFieldDescriptor *field)
{
	static const char *const texts[] = {"int32",    "sint32", "sfixed32", "int64",  "sint64",
					    "sfixed64", "uint32", "fixed32",  "uint64", "fixed64",
					    "float",    "double", "bool",     "enum",   "string",
					    "bytes",    "message"};

	if (field->type == PROTOBUF_C_TYPE_MESSAGE)
		return ((const ProtobufCMessageDescriptor *)field->descriptor)->short_name;
	if (field->type == PROTOBUF_C_TYPE_ENUM)
		return ((const ProtobufCEnumDescriptor *)field->descriptor)->short_name;
	HF_ASSERT((unsigned)field->type < sizeof texts / sizeof texts[0]);
	return texts[field->type];
}

static void print_enum(const ProtobufCEnumDescriptor *type)
{
	if (!note(type))
		return;
	printf("\n### %s\n\n| value | name |\n| --- | --- |\n", type->short_name);
	for (unsigned i = 0; i < type->n_values; i++)
		printf("| %d | `%s` |\n", type->values[i].value, type->values[i].name);
}

static void print_message(const ProtobufCMessageDescriptor *message)
{
	if (!note(message))
		return;
	printf("\n### %s\n\n", message->short_name);
	if (message->n_fields == 0)
		printf("No fields.\n");
	else
		printf("| number | field | type |\n| --- | --- | --- |\n");
	for (unsigned i = 0; i < message->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &message->fields[i];

		printf("| %u | `%s` | %s%s%s |\n", field->id, field->name,
		       field->label == PROTOBUF_C_LABEL_REPEATED ? "repeated " : "",
		       type_text(field),
		       field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF ? ", one of these" : "");
	}
	for (unsigned i = 0; i < message->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &message->fields[i];

		if (field->type == PROTOBUF_C_TYPE_MESSAGE)
			print_message(field->descriptor);
		else if (field->type == PROTOBUF_C_TYPE_ENUM)
			print_enum(field->descriptor);
	}
}

static void print_states(unsigned states)
{
	const char *comma = "";

	for (int state = 0; state <= HF_SESSION_ENDED; state++)
		if (states & (1u << state)) {
			printf("%s%s", comma, hf_session_state_text((enum hf_session_state)state));
			comma = ", ";
		}
}

static void print_rules(enum hf_session_kind kind, const char *title)
{
	printf("\n## %s\n\n| message | from | may travel while the session is | then it is |\n"
	       "| --- | --- | --- | --- |\n",
	       title);
	for (unsigned i = 0; i < hf_session_rule_count; i++) {
		const struct hf_session_rule *rule = &hf_session_rules[i];

		if (rule->kind != kind)
			continue;
		printf("| %s | %s | ", rule->message,
		       rule->from == HF_SIDE_GATEWAY ? "gateway" : "provider");
		print_states(rule->states);
		printf(" | %s |\n",
		       rule->next < 0 ? "the same"
				      : hf_session_state_text((enum hf_session_state)rule->next));
	}
}

int main(void)
{
	printf("# Messages and rules\n\n"
	       "Printed by `tests/proto/protocol_tables.c` from the code: the table that both "
	       "sides "
	       "of a session obey (`proto/session_rules.c`) and the descriptors of the messages. "
	       "What they mean is in [channel.md](channel.md) and [activation.md](activation.md).\n"
	       "The highest capability of this version is %u.\n",
	       HF_CAPABILITY);
	print_rules(HF_SESSION_MANAGEMENT, "Management connection");
	print_rules(HF_SESSION_ACTIVATION, "Activation connection");
	printf("\n## Frames and messages\n");
	print_message(&holdfast__frame__descriptor);
	print_message(&holdfast__to_provider__descriptor);
	print_message(&holdfast__to_gateway__descriptor);
	printf("\n## What is signed, and what is inside\n");
	print_message(&holdfast__change__descriptor);
	print_message(&holdfast__document__descriptor);
	print_message(&holdfast__document_delta__descriptor);
	print_message(&holdfast__volume_secrets__descriptor);
	print_message(&holdfast__store_secrets__descriptor);
	print_message(&holdfast__sealed__descriptor);
	print_message(&holdfast__action__descriptor);
	print_message(&holdfast__action_result__descriptor);
	print_message(&holdfast__plan_report__descriptor);
	print_message(&holdfast__confirmation__descriptor);
	return 0;
}
