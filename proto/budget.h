/* Memory for decoding what a peer sent, bounded by its length: protobuf makes 120 bytes of a
 * two-byte empty entry, so that a small message could otherwise become a big structure. Pure. */
#ifndef HF_PROTO_BUDGET_H
#define HF_PROTO_BUDGET_H

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>

struct hf_budget {
	ProtobufCAllocator allocator; /* for unpacking and for freeing */
	size_t left_bytes;
};

/* 32 times the message and 64 KiB. The budget must outlive what is unpacked with it. */
void hf_budget_init(struct hf_budget *budget, size_t message_length);

#endif
