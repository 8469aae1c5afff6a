"""A stand-in share server and tunnel client on loopback."""
