"""Services of the storage classes: SR, PBD, VDI, VBD and SM."""
