"""Who does the tasks: this process, or workers."""
