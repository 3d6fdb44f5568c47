"""An HTTP proxy that writes down what a server answered: one line of JSON for each answer of the two APIs.

    proxy.py FILE PORT-FILE      until SIGTERM; curl and requests find it by http_proxy
"""

import base64
import http.client
import json
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

HOP = {"connection", "keep-alive", "proxy-connection", "transfer-encoding", "te", "upgrade"}
record = open(sys.argv[1], "a", encoding="utf-8")
lock = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def pass_on(self):
        self.close_connection = True
        url = urlsplit(self.path)
        path = url.path + (f"?{url.query}" if url.query else "")
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP}
        server = http.client.HTTPConnection(url.hostname, url.port, timeout=60)
        try:
            server.request(self.command, path, body, headers)
            answer = server.getresponse()
        except OSError:
            # Nobody there: the client sees it as it would without us.
            return
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in HOP:
                self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()
        content = b""
        try:
            while piece := answer.read1():
                content += piece
                self.wfile.write(piece)
                self.wfile.flush()
        except OSError:
            # A listener that left, or a server that stopped in the middle of a stream.
            pass
        if url.path.startswith(("/api/v1", "/admin/v1")):
            line = {
                "method": self.command,
                "path": path,
                "status": answer.status,
                "headers": [(name.lower(), value) for name, value in answer.getheaders()],
                "body": base64.b64encode(content).decode(),
            }
            with lock:
                print(json.dumps(line), file=record, flush=True)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = pass_on

    def log_message(self, *_):
        pass


def main():
    # What is in flight is written down before the end.
    ThreadingHTTPServer.daemon_threads = False
    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=proxy.shutdown).start())
    Path(sys.argv[2]).write_text(str(proxy.server_address[1]))
    proxy.serve_forever(poll_interval=0.1)
    proxy.server_close()


main()
