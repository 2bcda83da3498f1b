#!/usr/bin/python3 -B
"""Names on the way to the provider, on real parts and with names of our own (/etc/hosts in a mount
namespace): addresses of both families are raced (RFC 8305), of several endpoints one that is there
is found, a name is asked for anew at each dial, and DNS moves no connection that is held."""

import os
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
from plane import Plane  # noqa: E402
from story import check, story, wait_until  # noqa: E402

NAME = "provider.test"
HOSTS = f"/tmp/hf-hosts-{os.getpid()}"


def set_hosts(*addresses, name=NAME):
    """In place: the file is bound over /etc/hosts."""
    with open(HOSTS, "w", encoding="utf-8") as f:
        f.write("127.0.0.1 localhost\n")
        f.writelines(f"{address} {name}\n" for address in addresses)


class Silent:
    """An address and port that answers no SYN: its backlog is full."""

    def __init__(self, address, port):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.sockets = [socket.socket(family)]
        self.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.sockets[0].bind((address, port))
        self.sockets[0].listen(0)
        for _ in range(4):
            client = socket.socket(family)
            client.setblocking(False)
            client.connect_ex((address, port))
            self.sockets.append(client)

    def close(self):
        for s in self.sockets:
            s.close()


def connections_at(port, address, family):
    """Established connections to that address and port, as the kernel has them."""
    packed = socket.inet_pton(family, address)
    wanted = "".join(packed[i:i + 4][::-1].hex().upper() for i in range(0, len(packed), 4)) + \
        f":{port:04X}"
    path = "/proc/net/tcp6" if family == socket.AF_INET6 else "/proc/net/tcp"
    with open(path, encoding="utf-8") as f:
        return sum(line.split()[2] == wanted and line.split()[3] == "01"
                   for line in list(f)[1:])


def both_families_are_raced(folder):
    set_hosts("::1", "127.0.0.2", "127.0.0.3")
    with Plane(folder, listen="127.0.0.3", advertise=[NAME]) as plane:
        # IPv6 comes first and answers nothing, 127.0.0.2 neither; 127.0.0.3 is the provider's.
        silent = [Silent(address, port) for address in ("::1", "127.0.0.2")
                  for port in (plane.channel, plane.activation)]
        plane.start_provider()
        plane.start_agent()
        plane.activate()
        plane.stop("agent")
        began = time.monotonic()
        plane.start_agent()
        plane.wait_held()
        took = time.monotonic() - began
        check(took < 3, f"silent addresses cost {took:.1f} s")
        check(connections_at(plane.channel, "127.0.0.3", socket.AF_INET) == 1, "not at 127.0.0.3")
        status, checks, answer = plane.doctor()
        check("[::1]" in checks["dns"]["text"] and "127.0.0.3" in checks["tcp"]["text"],
              f"the doctor says {answer}")
        check(checks["provider"]["result"] == "good", f"the doctor says {answer}")
        check(status == 18, "volumed is not there, and the doctor does not say so")
        for s in silent:
            s.close()


def the_other_family_is_used_too(folder):
    set_hosts("127.0.0.7", "::1")
    with Plane(folder, listen="[::1]", advertise=[NAME]) as plane:
        plane.start_provider()
        plane.start_agent()
        plane.activate()
        check(connections_at(plane.channel, "::1", socket.AF_INET6) == 1, "not over IPv6")


def of_several_endpoints_one_is_found(folder):
    set_hosts("127.0.0.1")
    with Plane(folder, advertise=["gone.test", NAME],
               agent={"activation": "x"}) as plane:
        plane.agent_config["activation"] = \
            f"gone.test:{plane.activation}, {NAME}:{plane.activation}"
        plane.start_provider()
        plane.start_agent()
        plane.activate()
        for _ in range(4):  # from a random one on
            plane.restart_agent()
            plane.wait_held()


def dns_is_followed_at_the_next_dial(folder):
    set_hosts("127.0.0.4")
    with Plane(folder, listen="127.0.0.4", advertise=[NAME]) as plane:
        plane.start_provider()
        plane.start_agent()
        plane.activate()
        epoch = plane.status()["connection_epoch"]
        set_hosts("127.0.0.5")
        # Two rounds of pings later it is still the same connection.
        seen = time.monotonic()
        wait_until("pings to pass", lambda: time.monotonic() > seen + 2.5)
        check(plane.is_held() and plane.status()["connection_epoch"] == epoch,
              "a change of DNS moved a held connection")
        plane.stop("provider")
        plane.provider_config["channel_listen"] = f"127.0.0.5:{plane.channel}"
        plane.start_provider()
        plane.wait_held()
        check(connections_at(plane.channel, "127.0.0.5", socket.AF_INET) == 1, "not followed")


def a_name_without_address_is_named(folder):
    set_hosts("127.0.0.4")
    with Plane(folder, listen="127.0.0.4", advertise=[NAME]) as plane:
        plane.start_provider()
        plane.start_agent()
        plane.activate()
        set_hosts()
        plane.restart_agent()
        plane.wait_error("dns: " + NAME)
        status, checks, answer = plane.doctor()
        check(status == 11 and answer["failing"] == "dns", f"the doctor says {answer}")
        check(checks["tls"]["result"] == "skipped", "TLS was looked at without an address")
        set_hosts("127.0.0.6")  # nobody there
        plane.restart_agent()
        plane.wait_error("tcp: 127.0.0.6:")
        status, checks, answer = plane.doctor()
        check(status == 12 and "refused" in checks["tcp"]["text"], f"the doctor says {answer}")
        set_hosts("127.0.0.4")
        plane.wait_held()  # the agent was not restarted since


def main():
    if "--inside" not in sys.argv:
        return subprocess.call(["unshare", "--mount", sys.executable, "-B", sys.argv[0],
                                "--inside"])
    set_hosts()
    if subprocess.call(["mount", "--bind", HOSTS, "/etc/hosts"]) != 0:
        print("no mount of our own can be made here")
        return 77
    try:
        story((both_families_are_raced, the_other_family_is_used_too,
               of_several_endpoints_one_is_found, dns_is_followed_at_the_next_dial,
               a_name_without_address_is_named))
    finally:
        os.unlink(HOSTS)
    return 0


if __name__ == "__main__":
    sys.exit(main())
