"""Virtual machines on this host: their records, their life, and what Xen says of them."""
