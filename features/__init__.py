"""What is known about a lead, and when: contract, lake, history, catalogue."""
