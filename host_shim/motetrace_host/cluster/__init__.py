"""Several shims that share one ledger in Redis or Valkey."""
