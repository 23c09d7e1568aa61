"""Writes the trained network as a GGUF that llama.cpp loads: metadata, vocabulary, chat template, Q8_0 weights.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

from pathlib import Path

import gguf

from demo_model.dialogues import BEGIN, CHAT_TEMPLATE, END
from demo_model.network import Network, Shape
from demo_model.tokenizer import Tokenizer


def write_gguf(path: Path, network: Network, tokenizer: Tokenizer) -> None:
    """Writes the file; an older one is replaced."""
    writer = gguf.GGUFWriter(path, "llama")
    _add_metadata(writer, network.shape)
    _add_vocabulary(writer, tokenizer)
    for name, weight in network.state_dict().items():
        values = weight.numpy()
        if values.ndim == 1:
            writer.add_tensor(name, values)
        else:
            q8_0 = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(name, gguf.quants.quantize(values, q8_0), raw_dtype=q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_metadata(writer: gguf.GGUFWriter, shape: Shape) -> None:
    writer.add_type(gguf.GGUFType.MODEL)
    writer.add_name("API Host demo")
    writer.add_description("A few questions learned by heart, to try API Host without a download.")
    writer.add_license("MIT")
    writer.add_languages(["en"])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_context_length(shape.n_ctx_train)
    writer.add_embedding_length(shape.n_embd)
    writer.add_block_count(shape.n_layer)
    writer.add_feed_forward_length(shape.n_ff)
    writer.add_head_count(shape.n_head)
    writer.add_head_count_kv(shape.n_head)
    writer.add_rope_dimension_count(shape.head_dim)
    writer.add_rope_freq_base(shape.rope_freq_base)
    writer.add_layer_norm_rms_eps(shape.norm_eps)
    writer.add_vocab_size(shape.n_vocab)


def _add_vocabulary(writer: gguf.GGUFWriter, tokenizer: Tokenizer) -> None:
    n_special = len(tokenizer.special_tokens)
    types = [gguf.TokenType.CONTROL] * n_special
    types += [gguf.TokenType.NORMAL] * (len(tokenizer.tokens) - n_special)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokenizer.tokens)
    writer.add_token_types(types)
    writer.add_token_merges([" ".join(pair) for pair in tokenizer.merges])
    writer.add_bos_token_id(tokenizer.ids[BEGIN])
    writer.add_eos_token_id(tokenizer.ids[END])
    writer.add_eot_token_id(tokenizer.ids[END])
    writer.add_pad_token_id(tokenizer.ids[END])
    writer.add_add_bos_token(True)
    writer.add_chat_template(CHAT_TEMPLATE)
