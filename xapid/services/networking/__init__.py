"""Services of the network classes: network and VIF."""
