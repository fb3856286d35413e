"""The asynchronous side of xapid-xen: its client, the planning of domains, xenstore."""
