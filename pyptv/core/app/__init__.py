"""The program around a run: command line, console, checks."""
