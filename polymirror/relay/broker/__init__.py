"""A relay and its consumers on the two sides of a NATS server, for more of them than one process serves."""
