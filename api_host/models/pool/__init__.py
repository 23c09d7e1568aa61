"""The models of a host in memory: which are loaded, which come next, which go."""
