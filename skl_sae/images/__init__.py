"""Images from files, and varied; import the transformers from `skl_sae`."""
