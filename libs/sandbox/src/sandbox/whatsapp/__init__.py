"""WhatsApp by number: Meta's Cloud API, its webhooks and the phones of the clients."""
