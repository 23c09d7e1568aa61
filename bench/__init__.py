"""Throughput and latency of this host beside llama.cpp's own tools and other servers: ``python -m bench``."""
