"""Batch systems: scripts from the site's own template, submission, the state of jobs."""
