"""Execution of tasks: in this process, or by workers."""
