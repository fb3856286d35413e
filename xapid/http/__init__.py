"""The sockets xapid answers on: HTTPS and a local one, both speaking HTTP."""
