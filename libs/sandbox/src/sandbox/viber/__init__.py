"""Viber's bots: the REST API, the callbacks, the phones."""
