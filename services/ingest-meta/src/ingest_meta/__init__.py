"""Facebook Messenger and Instagram Direct: webhooks in, answers out."""
