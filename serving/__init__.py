"""What a promoted model says: the scorer, batch scores and the service."""
