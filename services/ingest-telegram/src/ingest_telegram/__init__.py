"""Telegram Bot API: webhooks in, answers out."""
