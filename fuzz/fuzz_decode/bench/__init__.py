"""The speed at which a target reads a cache, measured on a GPU: shapes and layouts as data, a correctness gate, peers, timing."""
