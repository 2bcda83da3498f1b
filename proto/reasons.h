/* Reasons with which the provider turns a gateway away for good (Retry, docs/protocol/channel.md):
 * trying again changes nothing until somebody acts. `holdfast-gateway doctor` tells them from those
 * that pass. */
#ifndef HF_PROTO_REASONS_H
#define HF_PROTO_REASONS_H

#define HF_REASON_UNKNOWN    "this gateway is not known here"
#define HF_REASON_NOT_ACTIVE "this gateway is not active"
#define HF_REASON_REVOKED    "this gateway was revoked"
#define HF_REASON_WRONG_KEY  "the certificate is for a key that this gateway does not have"

#endif
