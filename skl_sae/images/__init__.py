"""Image files to rows of numbers, and random variants of such rows.

`_finder` lists the files of a folder, `_loader` reads them, `_augmenter` makes variants, and
`_embedder` runs a network on them. The public names are imported from `skl_sae`. Nothing is
imported here, because the command reads `_marker` before it may load NumPy.
"""
