"""A link between two programs that carries so many bytes a second upwards, and keeps little on the
way: a relay of TCP with small buffers."""
import socket
import threading
import time

CHUNK_BYTES = 1024
BUFFER_BYTES = 4096  # what lies in here has left the sender and cannot be overtaken any more


class SlowLink:
    """Listens at `address` on a port of the kernel's choice; whoever connects is connected to
    (host, port) of `target`. Ends with the process."""

    def __init__(self, address, target, bytes_per_second):
        self.target, self.rate = target, bytes_per_second
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)  # is inherited
        self._listener.bind((address, 0))
        self._listener.listen(8)
        self.address, self.port = self._listener.getsockname()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            below, _ = self._listener.accept()
            above = socket.socket()
            try:
                above.connect(self.target)
            except OSError:
                below.close()
                continue
            for source, sink, rate in ((below, above, True), (above, below, False)):
                threading.Thread(target=self._carry, args=(source, sink, rate), daemon=True).start()

    def _carry(self, source, sink, slowly):
        free_at = time.monotonic()
        try:
            while data := source.recv(CHUNK_BYTES):
                sink.sendall(data)
                if slowly:
                    # This is the link's time to carry it, not a wait for something.
                    free_at = max(free_at, time.monotonic()) + len(data) / self.rate
                    time.sleep(max(0.0, free_at - time.monotonic()))
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
