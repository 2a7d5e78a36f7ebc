"""The command line, ``leptonc``: one file for each command, found by being there."""
