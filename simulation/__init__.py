"""A company that never was: its leads, what they do and how they end, for demos and for proof."""
