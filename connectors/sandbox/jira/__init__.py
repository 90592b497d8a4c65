"""A simulated Jira Cloud site: REST v3 as Atlassian describes it, and simple ticket pages."""
