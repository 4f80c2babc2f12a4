"""Results for people (terminal) and for scripts (data)."""
