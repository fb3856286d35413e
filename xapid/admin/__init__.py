"""What an administrator does beside the daemon: checks, backups, the log of one call."""
