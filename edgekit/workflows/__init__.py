"""What takes several rooms of one floor at once. So far: the demo."""
