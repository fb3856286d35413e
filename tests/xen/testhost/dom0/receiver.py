"""Runs in dom0: keeps each file that is PUT to it, and each line of a log that is sent to it.

Usage: receiver.py DIRECTORY HTTP_PORT SYSLOG_PORT.
"""

import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

DIRECTORY = Path(sys.argv[1])


class Keeper(BaseHTTPRequestHandler):
    """PUT /NAME makes DIRECTORY/NAME."""

    def do_PUT(self) -> None:
        """Keep what comes, and answer once it is there."""
        left = int(self.headers["Content-Length"])
        part = DIRECTORY / f".{Path(self.path).name}"
        with part.open("wb") as file:
            while left:
                block = self.rfile.read(min(left, 1 << 16))
                file.write(block)
                left -= len(block)
        part.rename(DIRECTORY / Path(self.path).name)
        self.send_response(200)
        self.end_headers()


def keep_log(port: int) -> None:
    """Append each datagram to DIRECTORY/log."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", port))
        while True:
            with (DIRECTORY / "log").open("ab") as log:
                log.write(receiver.recv(65536) + b"\n")


if __name__ == "__main__":
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    threading.Thread(target=keep_log, args=(int(sys.argv[3]),), daemon=True).start()
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Keeper).serve_forever()
