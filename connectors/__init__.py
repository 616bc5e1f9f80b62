"""Connectors: the systems that history comes from, and that scores go back to."""
