"""What every service runs on: bus, store, HTTP, health, tokens, logs, telemetry."""
