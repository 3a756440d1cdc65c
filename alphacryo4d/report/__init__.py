"""The page of a project: what was found, to look at, to decide on and to act on."""
