"""Compiled loops. numba is imported by its modules, and so only once something is trained."""
