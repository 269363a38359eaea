"""Real servers, builders, wire fakes and the ledger checker for tests and `make up`."""
