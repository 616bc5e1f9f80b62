"""Stand-ins: a small stateful app for each system, so that a whole round trip can be seen without an account."""
