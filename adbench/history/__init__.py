"""Learning histories on disk: immutable HDF5 shards beside a manifest of JSON lines."""
