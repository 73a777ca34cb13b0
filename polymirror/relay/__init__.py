"""One proven mirror for many processes and hosts, without weakening what a read promises."""
