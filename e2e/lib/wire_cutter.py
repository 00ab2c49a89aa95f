"""What stands between two machines and belongs to somebody else: a TCP relay that cuts connections
where a test says, and a captured gateway that sees what joins cross it (docs/formats/join.md)."""
import http.client
import http.server
import socket
import socketserver
import ssl
import threading

from postern import run


class Cutter:
    """Passes bytes on, and cuts one connection when so many have gone up or come down."""

    def __init__(self, address, to):
        self._to, self.cuts = to, 0
        self._up = self._down = None
        self._lock = threading.Lock()
        self._listener = socket.create_server((address, 0))
        self.address, self.port = self._listener.getsockname()
        threading.Thread(target=self._accept, daemon=True).start()

    def cut_once(self, up=None, down=None):
        """The next connection: after so many bytes in this direction (0: at once)."""
        with self._lock:
            self._up, self._down = up, down

    def close(self):
        self._listener.close()

    def _take(self):
        with self._lock:
            limits, self._up, self._down = (self._up, self._down), None, None
            return limits

    def _accept(self):
        while True:
            try:
                child, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(child, *self._take()), daemon=True).start()

    def _serve(self, child, up, down):
        try:
            parent = socket.create_connection(self._to)
        except OSError:
            child.close()
            return

        def end():
            for one in (child, parent):
                try:
                    one.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

        def pump(source, sink, limit):
            passed = 0
            try:
                while limit is None or passed < limit:
                    data = source.recv(65536 if limit is None else min(65536, limit - passed))
                    if not data:
                        break
                    sink.sendall(data)
                    passed += len(data)
                else:
                    self.cuts += 1
            except OSError:
                pass
            end()

        other = threading.Thread(target=pump, args=(parent, child, down), daemon=True)
        other.start()
        pump(child, parent, up)
        other.join()
        child.close()
        parent.close()


def post_join(to, body):
    """(status, body) of one request, as a stranger sends it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(["http/1.1"])
    connection = http.client.HTTPSConnection(*to, context=context, timeout=30)
    try:
        connection.request("POST", "/join", body, {"Content-Type": "application/octet-stream"})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


class CapturedGateway:
    """Answers joins as its owner likes: `mischief(body, ask)` returns (status, body); ask(body) puts
    a request to the true gateway."""

    def __init__(self, address, true_gateway, folder):
        self.requests, self.mischief = [], None
        key, certificate = folder / "captured.key", folder / "captured.pem"
        run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-keyout", key, "-out", certificate, "-days", "2", "-subj", "/CN=gateway"])
        captured = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                captured.requests.append(body)
                status, answer = captured.mischief(body, lambda b: post_join(true_gateway, b))
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass

        class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
            daemon_threads = True

        self._server = Server((address, 0), Handler)
        self.address, self.port = self._server.server_address
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        context.set_alpn_protocols(["http/1.1"])
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()
