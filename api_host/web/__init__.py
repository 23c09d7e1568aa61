"""All that knows Flask: routes, shapes, sockets. Knows nothing of models or of llama.cpp."""
