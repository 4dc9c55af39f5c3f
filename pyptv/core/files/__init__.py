"""Result files: formats, complete or absent, and which run may write them."""
