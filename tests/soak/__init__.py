"""Northing killed again and again between two simulated trackers, in processes of its own: `make soak`.

`chaos` is the story. Whatever is random comes from one seed.
"""
