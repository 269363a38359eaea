"""Messenger of Facebook pages and Instagram Direct: Meta's Graph API for both, over real HTTP."""
