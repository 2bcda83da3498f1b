/* Frames of capability 2 that belong to standby connections. Part of test_golden.c, whose macros
 * and constants it uses; nobody else includes it. */
#ifndef HF_TESTS_PROTO_GOLDEN_STANDBY_H
#define HF_TESTS_PROTO_GOLDEN_STANDBY_H

UP(connect_2, CONNECT, connect, Holdfast__Connect, HOLDFAST__CONNECT__INIT, {
	m->gateway = 0xfedcba9876543210ull;
	m->role = HOLDFAST__ROLE__ROLE_STANDBY;
	m->boot = bytes_of(boot, 16);
	m->capability = 2;
	m->applied = applied();
	m->last_epoch = 18;
	m->version = text("0.2.0");
})
UP(report_path, REPORT, report, Holdfast__Report, HOLDFAST__REPORT__INIT, {
	m->subscription = 1;
	m->number = 2;
	m->path = HOLDFAST__PATH_STATE__PATH_LOST;
	m->path_epoch = 18;
})
UP(report_path_token, REPORT, report, Holdfast__Report, HOLDFAST__REPORT__INIT, {
	m->subscription = 1;
	m->number = 3;
	m->path = HOLDFAST__PATH_STATE__PATH_LOST;
	m->path_epoch = 18;
	m->token = bytes_of(boot, 16);
})
DOWN(held_2, HELD, held, Holdfast__Held, HOLDFAST__HELD__INIT, {
	static char *endpoints[2];

	endpoints[0] = text("one.example:7443");
	endpoints[1] = text("[2001:db8::1]:7443");

	m->epoch = EPOCH;
	m->ping_interval_ms = 20000;
	m->capability = 2;
	m->process = 0xabcdef0123456789ull;
	m->endpoints = endpoints;
	m->n_endpoints = 2;
	m->standby_ms = 10000;
})
DOWN(parked_2, PARKED, parked, Holdfast__Parked, HOLDFAST__PARKED__INIT, {
	m->ping_interval_ms = 20000;
	m->capability = 2;
	m->process = 0xabcdef0123456789ull;
})
DOWN(retry_2, RETRY, retry, Holdfast__Retry, HOLDFAST__RETRY__INIT, {
	m->after_ms = 5000;
	m->reason = text("full");
	m->endpoint = text("other.example:7443");
})
DOWN(peers, REQUEST, request, Holdfast__Request, HOLDFAST__REQUEST__INIT, {
	static Holdfast__Peers p = HOLDFAST__PEERS__INIT;
	static char *endpoints[2];

	endpoints[0] = text("one.example:7443");
	endpoints[1] = text("[2001:db8::1]:7443");

	p.endpoints = endpoints;
	p.n_endpoints = 2;
	p.standby_ms = 10000;
	m->request = 6;
	m->remaining_ms = 10000;
	m->kind_case = HOLDFAST__REQUEST__KIND_PEERS;
	m->peers = &p;
})

#endif
