"""The pool of this one host: what needs more hosts, the database's backup, and patches."""
