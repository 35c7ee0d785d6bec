"""The command ``python -m skl_sae``. Nothing is imported here: its first line comes first."""
