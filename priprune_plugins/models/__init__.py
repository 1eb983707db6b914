"""Models, how their weights are drawn, and how the host builds one."""
