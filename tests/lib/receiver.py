"""A receiver of the webhook (docs/protocol/webhook.md), which checks each signature."""

import hashlib
import hmac
import http.server
import json
import os
import threading
import time

SECRET = "a-secret-of-the-test-7"


class Receiver:
    """Takes what is posted; refuses the next `refuse` ones with 500."""

    def __init__(self, port=0):
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.take(self.headers, body)
                self.send_response(500 if receiver.refuse > 0 else 204)
                receiver.refuse -= receiver.refuse > 0
                self.end_headers()

        self.refuse = 0
        self.alerts = []
        self.wrong = []
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take(self, headers, body):
        stamp = headers["Holdfast-Timestamp"]
        wanted = hmac.new(SECRET.encode(), stamp.encode() + b"." + body,
                          hashlib.sha256).hexdigest()
        if headers["Holdfast-Signature"] != "v1=" + wanted or abs(time.time() - int(stamp)) > 30:
            self.wrong.append(dict(headers))
        self.alerts.append(json.loads(body))

    def events(self):
        return [a["event"] for a in self.alerts]

    def settings(self, folder):
        """Of a provider that tells it."""
        path = os.path.join(folder, "webhook-secret")
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as f:
            f.write(SECRET + "\n")
        return {"webhook_url": f"http://127.0.0.1:{self.port}/hook", "webhook_secret": path}

    def close(self):
        self.server.shutdown()
        self.server.server_close()
