"""The model and its optimizer: arrays in, arrays out, by torch and numba, without scikit-learn."""
