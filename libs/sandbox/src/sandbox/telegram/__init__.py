"""Telegram's Bot API as a bot sees it: the calls, the webhooks, and the phones behind them."""
