"""Messengers to play with: their own protocols over real sockets; it knows nothing of our services."""
