"""Simulated Jira Cloud and GitHub, stateful, over real HTTP on loopback; they share no code with Northing."""
