"""WhatsApp by number, through the Cloud API: webhooks in, answers out."""
