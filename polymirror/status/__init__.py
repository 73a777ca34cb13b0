"""How a mirror is, for people: its status, and what stands on it (metrics, the status server and its page)."""
