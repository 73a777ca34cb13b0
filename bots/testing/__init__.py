"""Stand-ins for what a bot talks to, so that it can be tried with nobody there."""
