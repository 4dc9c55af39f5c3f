"""The command line of the two entry points: which options there are (``options``), and what is done with them (``command``)."""
