"""Estimators that learn sparse codes; import them from `skl_sae`."""
