"""How a model is fitted: its rows, units, epochs and history."""
