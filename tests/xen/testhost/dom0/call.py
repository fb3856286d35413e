"""Runs in dom0, in any namespace: one call of the API, with a session for it alone.

Usage: call.py ADDRESS PASSWORD METHOD JSON-ARGUMENTS. Writes the answer as JSON.
"""

import json
import socket
import ssl
import sys
import xmlrpc.client

PATIENCE_S = 8.0


def main() -> None:
    address, password, method, arguments = sys.argv[1:5]
    socket.setdefaulttimeout(PATIENCE_S)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    server = xmlrpc.client.ServerProxy(f"https://{address}/", context=context)
    session = server.session.login_with_password("root", password)["Value"]
    answer = getattr(server, method)(session, *json.loads(arguments))
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
