"""Orders at the simulated venue: the calls about them, the rules, matching, settling, and who owns what."""
