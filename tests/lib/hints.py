"""Somebody on the bus who hears every hint and says it again: twice, late, in another order. A client
of NATS' own protocol, without echo, so that it hears only others."""

import json
import random
import socket
import ssl
import threading


class HintReplayer(threading.Thread):
    """Goes from node to node as they die. `replayed` counts what it said."""

    HEARD_MAX = 512

    def __init__(self, nats, seed):
        super().__init__(daemon=True)
        self.nats, self.rng = nats, random.Random(f"{seed}-hints")
        self.stopping = threading.Event()
        self.heard, self.replayed = [], 0

    def run(self):
        node = 0
        while not self.stopping.is_set():
            try:
                self.session(self.nats.ports[node % len(self.nats.processes)])
            except (OSError, ValueError, IndexError):
                self.stopping.wait(0.1)
            node += 1

    def session(self, port):
        context = ssl.create_default_context(cafile=self.nats.tls["ca.crt"])
        with socket.create_connection(("127.0.0.1", port), 5) as plain:
            while b"\n" not in plain.recv(4096):  # INFO, before TLS
                pass
            with context.wrap_socket(plain, server_hostname=self.nats.NAME) as s:
                options = {"user": "holdfast", "pass": "secret", "verbose": False,
                           "pedantic": False, "tls_required": True, "echo": False}
                s.sendall(b"CONNECT " + json.dumps(options).encode() +
                          b"\r\nSUB holdfast.> 1\r\n")
                s.settimeout(0.05)
                self.listen(s)

    def listen(self, s):
        data = b""
        while not self.stopping.is_set():
            try:
                came = s.recv(65536)
                if not came:
                    return
                data += came
            except TimeoutError:
                pass
            data = self.take(s, data)
            self.say_again(s)

    def take(self, s, data):
        """What was said, out of the stream; returns the beginning of what is still to come."""
        while b"\r\n" in data:
            line, rest = data.split(b"\r\n", 1)
            words = line.split()
            if words and words[0] == b"PING":
                s.sendall(b"PONG\r\n")
            elif words and words[0] == b"MSG":
                length = int(words[-1])
                if len(rest) < length + 2:
                    return data
                self.heard.append((words[1], rest[:length]))
                self.heard = self.heard[-self.HEARD_MAX:]
                rest = rest[length + 2:]
            data = rest
        return data

    def say_again(self, s):
        """Some of what was ever heard, in an order of chance."""
        if not self.heard or self.rng.random() > 0.3:
            return
        for subject, hint in self.rng.choices(self.heard, k=self.rng.randint(1, 4)):
            s.sendall(b"PUB " + subject + b" " + str(len(hint)).encode() + b"\r\n" + hint +
                      b"\r\n")
            self.replayed += 1
