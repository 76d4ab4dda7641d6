"""adbench."""
