"""The results of earlier runs."""
