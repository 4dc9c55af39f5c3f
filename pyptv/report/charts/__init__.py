"""The charts of the page: drawn by matplotlib, coloured by the page's style sheet."""
