"""The engine of optv: the only folder that imports it."""
