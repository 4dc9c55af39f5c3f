"""The chapter of the report on the method ``dense``."""
