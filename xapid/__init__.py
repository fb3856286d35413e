"""xapid: the XenAPI for any dom0."""
