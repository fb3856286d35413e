"""The command `xe`: the client that administrators know, made from the datamodel."""
