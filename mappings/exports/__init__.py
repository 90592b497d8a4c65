"""Objectives, key results, links and epics as rows of files."""
