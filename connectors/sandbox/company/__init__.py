"""A realistic invented company for the demo: its work in both trackers, and its goals for Northing."""

from connectors.sandbox.company.github_work import github_host
from connectors.sandbox.company.goals import GITHUB_SOURCE, JIRA_SOURCE, Goals, goals
from connectors.sandbox.company.jira_work import jira_site

__all__ = ["GITHUB_SOURCE", "JIRA_SOURCE", "Goals", "github_host", "goals", "jira_site"]
