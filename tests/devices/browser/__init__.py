"""A browser as a device: its server, its page in a real Chromium, and what goes wrong with both."""
