"""All that imports llama_cpp: model, context, sampler chains, chat templates, devices."""
