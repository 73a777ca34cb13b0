"""Operation: settings, preflight, supervision, health and notices."""
