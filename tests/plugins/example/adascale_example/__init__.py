"""A plug-in with one of each kind, a file for each."""
