"""Networks of this host: its bridges."""
