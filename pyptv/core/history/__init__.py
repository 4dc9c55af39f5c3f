"""What earlier runs have done."""
