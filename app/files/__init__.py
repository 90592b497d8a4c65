"""Files of goals, links and epics for the API and the command line."""
