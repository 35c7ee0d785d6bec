"""Arrays of members that stand one after another."""


def mean_of_members(array, n_members):
    """Average an array of shape (n_members * n, n_features) over the members: (n, n_features)."""
    return array.reshape(n_members, -1, array.shape[1]).mean(axis=0)
