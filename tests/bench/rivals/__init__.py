"""Parts of rivals.py: what sets up, runs and measures clquant and its rivals."""
