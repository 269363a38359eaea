"""Words the services share: pure models and names, no I/O."""
