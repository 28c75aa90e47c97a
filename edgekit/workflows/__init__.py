"""What takes several rooms of one floor at once: the demo, `tune`, and activation that proves itself."""
