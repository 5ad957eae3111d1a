"""Peers over TCP: the transport, its handshake, and the notice to members that were removed."""
