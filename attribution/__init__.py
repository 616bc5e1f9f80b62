"""Which touches earned which closes: journeys, weights, and the credit they add up to."""
