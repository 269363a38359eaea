"""The kit all services share: words (contracts), runtime, connector frame, testing."""
