"""Sizes at which another way is faster, each with the measurement that set it.

Measured on two cores of a Xeon with AVX-512, float32. None of them changes a result by more than
the rounding of sums, and none depends on the number of threads.
"""

# --- Threads ---

# Numbers to work on from which threads pay off. A second thread begins 75 us after it is called,
# and one core takes 200 to 500 us for a visit to 2**20 numbers; at 2**22 two cores take 0.6 of the
# time of one.
SHARED_SIZE = 2**20
# Multiplications of a product from which threads pay off (1 ms on one core).
SHARED_PRODUCT = 2**26
# Parts of a product, and ranges of a compiled loop, for any number of threads. More parts cost
# calls, fewer leave threads waiting for the last one, which may have to wait for a core.
N_PARTS, N_RANGES = 8, 32

# --- Products ---

# Share of active atoms below which loops over these beat dense products on a CPU. Digits, 256
# atoms: level at k = 32.
SPARSE_DENSITY = 1 / 8
# Rows below which atoms x rows is the faster order of the encoder's product: 16 rows by
# 1,024 atoms of 4,096 features take 0.9 ms, 1.5 the other way round.
NARROW_BATCH = 64
# Atoms below which that order does not pay for transposing its output.
FEW_ATOMS = 512
# Rows that products handle in blocks; those left over are rounded differently (MKL with AVX2).
ROWS_OF_PRODUCTS = 16
# Features handled at a time by compiled loops: 8 kB of each array, so that a tile of the gradient,
# the weights and both moments stays in the first-level cache.
TILE = 2048

# --- Search for the largest ---

# Numbers compared at a time before any is looked at by itself, which vectors do many of at once.
BLOCK = 128
# Numbers of a group whose maximum compiled top-k looks at, unless groups are then fewer than this
# many a pick: 6,144 numbers, k = 32, take 5.5 us; 16 by a heap. Groups of 16 take 4.5, in another
# order, by which gradients are rounded in another way.
GROUP_SIZE, GROUPS_A_PICK = 32, 2
# torch's top-k first looks at maxima of groups of this size, along axes at least so long:
# 3,072 numbers, k = 128, take 17 us a row instead of 40.
GROUP, LEAST_GROUPED = 8, 512
# Rows searched in one piece, and numbers from which threads share the pieces.
SEARCHED_ROWS, SHARED_SEARCH = 64, 2**20

# --- Memory ---

# Pre-activations (transform) and products (pursuit) held at a time: 32 MB.
CODES_AT_A_TIME = 2**23
# Numbers in the patches of the images that a convolutional step works on at a time: 2 MB.
PATCHES_AT_A_TIME = 2**19
# Rows handled at a time where nothing but memory matters: some MB of images.
ROWS_AT_A_TIME = 256

# --- Processes ---

# Weights from which ranks share a model. Beside busy neighbours a step of 2**20 takes one rank 7 ms
# (32 rows), and two that share it 11; of 2**22 weights 22 and 25 ms, of 2**23 45 and 33.
SPREAD_SIZE = 2**22
# Multiplications of decoding from which a batch is halved, such that one half travels while the
# other is decoded: a step of 32 rows by 12,288 features takes 62 ms instead of 65; one of 512 rows
# by 768, which are decoded in 1.6 ms, gains nothing.
HALVED = 2**24
