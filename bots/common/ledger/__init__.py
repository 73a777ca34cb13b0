"""What a bot must not forget: intents, results, positions and sums, on the disk before anything leaves."""
