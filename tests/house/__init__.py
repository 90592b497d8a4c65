"""Measures how much of the code a stranger has to read: `make house`."""
