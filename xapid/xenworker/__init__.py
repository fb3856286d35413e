"""xapid-xen: the threaded process that alone speaks to libxl, for one client on a Unix socket."""
