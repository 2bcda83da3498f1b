/* holdfast-volumed: the data plane of the gateway. Reads its configuration, runs volumed.c. */
#include "gateway/volumed/volumed.h"
#include "net/daemon.h"

int main(int argc, char **argv)
{
	static const struct hf_daemon daemon = {
		.name = "holdfast-volumed",
		.purpose = "Serves Holdfast's volumes to tgtd: write log, object uploads, reads.",
		.keys = hf_volumed_keys,
		.check = hf_volumed_check_config,
	};
	struct hf_volumed_config config = {0};
	int status = hf_daemon_start(&daemon, argc, argv, &config);

	if (status < 0)
		status = hf_err_exit_status(hf_volumed_run(&config));
	hf_conf_free(hf_volumed_keys, &config);
	return status;
}
