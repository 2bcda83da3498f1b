#!/usr/bin/env python3
"""The registry's contract on a real PostgreSQL, and what only this database promises: what is
durable there, who shuts out whom, and how little a database costs that hangs, dies or comes back.
Starts the server and runs registry_postgres on it."""

import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
from cluster import Postgres  # noqa: E402
from story import BUILD, free_ports  # noqa: E402


def main():
    with tempfile.TemporaryDirectory(prefix="hf-postgres-", dir="/tmp") as folder:
        server = Postgres(folder + "/pg", free_ports(1)[0]).start()
        try:
            return subprocess.run([BUILD + "/tests/registry_postgres"], check=False, env=dict(
                os.environ, HF_POSTGRES=server.url, HF_POSTGRES_TCP=server.tcp_url,
                HF_POSTGRES_PID=str(server.process.pid))).returncode
        finally:
            server.stop()


sys.exit(main())
