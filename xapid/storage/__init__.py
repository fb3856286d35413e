"""Storage drivers: where disks live on this host."""
