"""A decode problem as plain data: cases, layouts, optional arguments, validity, order of simplicity, JSON."""
