"""Simulated Jira Cloud and GitHub, stateful, over real HTTP on loopback; they know nothing of Northing."""
