"""A real Xen host in QEMU, under plain software emulation: built once, booted for each test run."""
