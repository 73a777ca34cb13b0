"""The tests that a strategy's profit must survive. Each says in a sentence what it found."""
