"""From a model's reference to a GGUF on this disk; the only folder that asks the hub, and that in a child process."""
