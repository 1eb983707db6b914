"""The same plugins under other frameworks: the hooks around their training loops and their servers."""
