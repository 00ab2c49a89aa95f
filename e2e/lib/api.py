"""The management server's API over its Unix socket: many calls on one connection."""
import http.client
import json
import socket
import time
import urllib.parse

from postern import Failure, expect

PAGE = 1000


class _Connection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=20)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Api:
    def __init__(self, server):
        self.socket = server.state / "api.sock"
        self.connection = None

    def ask(self, method, target, status=200, body=None):
        """The answer; waits when the server asks for that. A broken connection is a Failure."""
        while True:
            answer, text = self._once(method, target, body)
            if answer.status != 429:
                break
            time.sleep(float(answer.getheader("Retry-After", "1")))
        expect(answer.status == status, f"{method} {target}: {answer.status}, not {status}: {text}")
        return json.loads(text)

    def _once(self, method, target, body):
        if self.connection is None:
            self.connection = _Connection(self.socket)
        try:
            self.connection.request(method, f"/api/v1/{target}",
                                    None if body is None else json.dumps(body),
                                    {} if body is None else {"Content-Type": "application/json"})
            answer = self.connection.getresponse()
            return answer, answer.read().decode()
        except (OSError, http.client.HTTPException) as error:
            self.connection = None
            raise Failure(f"{method} {target}: {error!r}") from None

    def items(self, target, **filters):
        """All pages of a list."""
        found, cursor = [], None
        while True:
            query = dict(filters, limit=PAGE, **({"cursor": cursor} if cursor else {}))
            page = self.ask("GET", f"{target}?{urllib.parse.urlencode(query)}")
            found += page["items"]
            cursor = page["next"]
            if not cursor:
                return found
