"""Attempts in processes of their own: the processes, what is said to them, and what they do."""
