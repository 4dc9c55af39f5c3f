"""Result files: formats, whole or absent, and who may write them."""
