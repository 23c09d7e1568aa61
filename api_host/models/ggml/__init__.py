"""GGML files of LLaMA models from before GGUF: told apart (``is_ggml``) and turned into a GGUF (``convert_file``)."""

from api_host.models.ggml.container import is_ggml
from api_host.models.ggml.convert import convert_file

__all__ = ["convert_file", "is_ggml"]
