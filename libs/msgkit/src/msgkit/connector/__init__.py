"""What every messenger connector stands on: contract, webhook intake, send store and loop."""
