"""The command line: options, console, progress, and the commands that process nothing (``--check``, ``--demo``, scripts)."""
