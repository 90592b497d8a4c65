"""A simulated Jira Cloud site: its REST API v3 as Atlassian documents it, and simple ticket pages."""
