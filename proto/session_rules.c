/* The one table of the session: which message may travel in which state, from whom, and where it
 * leads. Sender and receiver both obey it. docs/protocol/channel.md shows it, and a test compares.
 *
 * ActivateRefuse and Pong may still arrive in ISSUED, because they may have crossed ActivateIssued.
 */
#include "proto/session.h"

#define IN(state) (1u << HF_SESSION_##state)
#define SAME      (-1)

#define GATEWAY    HF_SIDE_GATEWAY
#define PROVIDER   HF_SIDE_PROVIDER
#define MANAGE     HF_SESSION_MANAGEMENT
#define ACTIVATE   HF_SESSION_ACTIVATION
#define UP(name)   HOLDFAST__TO_PROVIDER__KIND_##name
#define DOWN(name) HOLDFAST__TO_GATEWAY__KIND_##name

/* clang-format off */
const struct hf_session_rule hf_session_rules[] = {
	/* message           from      on        tag                     may travel in           then */
	{"Connect",          GATEWAY,  MANAGE,   UP(CONNECT),            IN(NEW),                HF_SESSION_ASKED},
	{"Held",             PROVIDER, MANAGE,   DOWN(HELD),             IN(ASKED) | IN(PARKED), HF_SESSION_HELD},
	{"Parked",           PROVIDER, MANAGE,   DOWN(PARKED),           IN(ASKED),              HF_SESSION_PARKED},
	{"Request",          PROVIDER, MANAGE,   DOWN(REQUEST),          IN(HELD) | IN(PARKED),  SAME},
	{"Answer",           GATEWAY,  MANAGE,   UP(ANSWER),             IN(HELD) | IN(PARKED),  SAME},
	{"Report",           GATEWAY,  MANAGE,   UP(REPORT),             IN(HELD) | IN(PARKED),  SAME},
	{"Ping",             PROVIDER, MANAGE,   DOWN(PING),             IN(HELD) | IN(PARKED),  SAME},
	{"Pong",             GATEWAY,  MANAGE,   UP(PONG),               IN(HELD) | IN(PARKED),  SAME},
	{"Retry",            PROVIDER, MANAGE,   DOWN(RETRY),            IN(ASKED) | IN(HELD) | IN(PARKED), HF_SESSION_ENDED},
	{"ActivateHello",    GATEWAY,  ACTIVATE, UP(ACTIVATE_HELLO),     IN(NEW),                HF_SESSION_ASKED},
	{"ActivateOffer",    PROVIDER, ACTIVATE, DOWN(ACTIVATE_OFFER),   IN(ASKED),              HF_SESSION_OFFERED},
	{"ActivateClaimed",  PROVIDER, ACTIVATE, DOWN(ACTIVATE_CLAIMED), IN(OFFERED),            HF_SESSION_CLAIMED},
	{"ActivateRefuse",   GATEWAY,  ACTIVATE, UP(ACTIVATE_REFUSE),    IN(OFFERED) | IN(CLAIMED) | IN(ISSUED), HF_SESSION_ENDED},
	{"ActivateIssued",   PROVIDER, ACTIVATE, DOWN(ACTIVATE_ISSUED),  IN(CLAIMED),            HF_SESSION_ISSUED},
	{"Ping",             PROVIDER, ACTIVATE, DOWN(PING),             IN(OFFERED) | IN(CLAIMED), SAME},
	{"Pong",             GATEWAY,  ACTIVATE, UP(PONG),               IN(OFFERED) | IN(CLAIMED) | IN(ISSUED), SAME},
	{"Retry",            PROVIDER, ACTIVATE, DOWN(RETRY),            IN(ASKED) | IN(OFFERED) | IN(CLAIMED), HF_SESSION_ENDED},
};
/* clang-format on */
const unsigned hf_session_rule_count = sizeof hf_session_rules / sizeof hf_session_rules[0];
