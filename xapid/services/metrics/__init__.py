"""What is measured of the host, its VMs and their devices."""
