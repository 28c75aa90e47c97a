"""The page's half of the runner: its arithmetic, held against Python's."""
