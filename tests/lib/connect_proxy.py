"""An HTTP proxy of our own that opens tunnels with CONNECT (RFC 9110 9.3.6), asks for Basic
authentication, and misbehaves on demand. It lives in the test's process, one thread a connection."""

import base64
import socket
import socketserver
import threading
import time

PORTAL = b"<html><head><title>Hotel Wi-Fi</title></head><body>Please log in.</body></html>"
# What it answers instead of opening a tunnel.
FAULTS = {
    "403": b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
    "502": b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n",
    "503": b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
    "ntlm": b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: NTLM\r\n\r\n",
    "redirect": b"HTTP/1.1 302 Found\r\nLocation: http://login.hotel.example/\r\n\r\n",
    "page": b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%s"
            % (len(PORTAL), PORTAL),
    "page-without-type": b"HTTP/1.1 200 OK\r\n\r\n",  # and then the page, as if it were the peer
    "garbage": b"\x16\x03\x01\x00\x00 nonsense\r\n\r\n",
    "endless": b"HTTP/1.1 200 OK\r\n" + b"X-Filler: " + b"y" * 40000,
}


class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        proxy = self.server.proxy
        proxy.track(self.request)
        try:
            self.serve(proxy)
        except OSError:
            pass
        finally:
            proxy.forget(self.request)

    def serve(self, proxy):
        head = b""
        while b"\r\n\r\n" not in head:
            data = self.request.recv(4096)
            if not data:
                return
            head += data
        lines = head.split(b"\r\n\r\n", 1)[0].decode("latin-1").split("\r\n")
        method, target, _ = lines[0].split(" ")
        headers = {k.lower(): v.strip() for k, v in
                   (line.split(":", 1) for line in lines[1:])}
        proxy.requests.append((method, target, headers))
        if proxy.fault == "silent":
            self.request.recv(1)  # until it gives up
            return
        if proxy.fault == "cut":
            return
        if proxy.fault:
            self.request.sendall(FAULTS[proxy.fault])
            if proxy.fault == "page-without-type":
                self.request.recv(4096)  # the ClientHello
                self.request.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" + PORTAL)
            self.drain()
            return
        if proxy.wanted and headers.get("proxy-authorization") != proxy.wanted:
            self.request.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\n"
                                 b"Proxy-Authenticate: Basic realm=\"test\"\r\n"
                                 b"Content-Length: 0\r\n\r\n")
            return
        self.tunnel(proxy, target)

    def drain(self):
        """So that closing does not reset the connection under the answer."""
        self.request.shutdown(socket.SHUT_WR)
        self.request.settimeout(2)
        while self.request.recv(4096):
            pass

    def tunnel(self, proxy, target):
        host, port = target.rsplit(":", 1)
        try:
            upstream = socket.create_connection((host.strip("[]"), int(port)), 10)
        except OSError:
            self.request.sendall(FAULTS["502"])
            return
        proxy.track(upstream)
        date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + proxy.ahead_s))
        self.request.sendall(b"HTTP/1.1 200 Connection established\r\nDate: %s\r\n\r\n"
                             % date.encode())
        back = threading.Thread(target=pump, args=(upstream, self.request), daemon=True)
        back.start()
        pump(self.request, upstream)
        back.join()
        proxy.forget(upstream)
        upstream.close()


def pump(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass


class ConnectProxy:
    def __init__(self, address="127.0.0.1", port=0, user=None, password=None):
        self.fault = ""
        self.ahead_s = 0  # of its clock
        self.requests = []  # (method, target, headers)
        self.lock = threading.Lock()
        self.sockets = set()
        self.set_password(user, password)
        self.server = Server((address, port), Handler)
        self.server.proxy = self
        self.port = self.server.server_address[1]
        self.url = f"http://{address}:{self.port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def set_password(self, user, password):
        """The one it wants; None for no authentication."""
        self.wanted = user and "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    def track(self, sock):
        with self.lock:
            self.sockets.add(sock)

    def forget(self, sock):
        with self.lock:
            self.sockets.discard(sock)

    def cut(self):
        """Ends every tunnel."""
        with self.lock:
            for sock in self.sockets:
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def targets(self):
        return [target for _, target, _ in self.requests]

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.cut()
