"""Tests of the TVM format: its graph rewrites, its schedules, its runtime."""
