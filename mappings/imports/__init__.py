"""Files of objectives, key results and links: their columns, and what a file changes."""
