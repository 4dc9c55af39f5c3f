"""What a user types and sees: options, console, progress, and the commands that are no run (``--check``, ``--demo``, scripts)."""
