"""Viber bots: callbacks in, answers out."""
