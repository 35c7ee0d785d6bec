"""The command ``python -m skl_sae``.

Nothing is imported here, so that the command's first line comes before its libraries.
"""
