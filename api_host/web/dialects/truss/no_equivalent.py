"""The arguments of transformers' ``generate()`` that mean nothing here, each with the value that changes nothing.

Sent with that value, or null, they pass; with any other they are refused by name, for a text that was made without
them is not what was asked for. The list is that of ``transformers.GenerationConfig`` and ``GenerationMixin.generate``
up to transformers 4.57; a name that is on neither list is unknown, and refused as such.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from api_host.web.naming import NamedModel
from api_host.web.validation import shown

_HIDDEN = {"hidden": True}


@dataclass
class NoEquivalent(NamedModel):
    """See the module; in the order of transformers' documentation."""

    early_stopping: Any = field(default=False, metadata=_HIDDEN)
    max_time: Any = field(default=None, metadata=_HIDDEN)
    num_beams: Any = field(default=1, metadata=_HIDDEN)
    num_beam_groups: Any = field(default=1, metadata=_HIDDEN)
    penalty_alpha: Any = field(default=None, metadata=_HIDDEN)
    dola_layers: Any = field(default=None, metadata=_HIDDEN)
    use_cache: Any = field(default=True, metadata=_HIDDEN)
    cache_implementation: Any = field(default=None, metadata=_HIDDEN)
    cache_config: Any = field(default=None, metadata=_HIDDEN)
    return_legacy_cache: Any = field(default=None, metadata=_HIDDEN)
    prefill_chunk_size: Any = field(default=None, metadata=_HIDDEN)
    top_h: Any = field(default=None, metadata=_HIDDEN)
    epsilon_cutoff: Any = field(default=0.0, metadata=_HIDDEN)
    eta_cutoff: Any = field(default=0.0, metadata=_HIDDEN)
    diversity_penalty: Any = field(default=0.0, metadata=_HIDDEN)
    encoder_repetition_penalty: Any = field(default=1.0, metadata=_HIDDEN)
    length_penalty: Any = field(default=1.0, metadata=_HIDDEN)
    force_words_ids: Any = field(default=None, metadata=_HIDDEN)
    renormalize_logits: Any = field(default=False, metadata=_HIDDEN)
    constraints: Any = field(default=None, metadata=_HIDDEN)
    forced_bos_token_id: Any = field(default=None, metadata=_HIDDEN)
    forced_eos_token_id: Any = field(default=None, metadata=_HIDDEN)
    remove_invalid_values: Any = field(default=False, metadata=_HIDDEN)
    exponential_decay_length_penalty: Any = field(default=None, metadata=_HIDDEN)
    begin_suppress_tokens: Any = field(default=None, metadata=_HIDDEN)
    forced_decoder_ids: Any = field(default=None, metadata=_HIDDEN)
    sequence_bias: Any = field(default=None, metadata=_HIDDEN)
    token_healing: Any = field(default=False, metadata=_HIDDEN)
    guidance_scale: Any = field(default=1.0, metadata=_HIDDEN)
    low_memory: Any = field(default=None, metadata=_HIDDEN)
    watermarking_config: Any = field(default=None, metadata=_HIDDEN)
    output_attentions: Any = field(default=False, metadata=_HIDDEN)
    output_hidden_states: Any = field(default=False, metadata=_HIDDEN)
    output_scores: Any = field(default=False, metadata=_HIDDEN)
    output_logits: Any = field(default=False, metadata=_HIDDEN)
    return_dict_in_generate: Any = field(default=False, metadata=_HIDDEN)
    pad_token_id: Any = field(default=None, metadata=_HIDDEN)
    bos_token_id: Any = field(default=None, metadata=_HIDDEN)
    eos_token_id: Any = field(default=None, metadata=_HIDDEN)
    encoder_no_repeat_ngram_size: Any = field(default=0, metadata=_HIDDEN)
    decoder_start_token_id: Any = field(default=None, metadata=_HIDDEN)
    is_assistant: Any = field(default=False, metadata=_HIDDEN)
    num_assistant_tokens: Any = field(default=20, metadata=_HIDDEN)
    num_assistant_tokens_schedule: Any = field(default="constant", metadata=_HIDDEN)
    assistant_confidence_threshold: Any = field(default=0.4, metadata=_HIDDEN)
    prompt_lookup_num_tokens: Any = field(default=None, metadata=_HIDDEN)
    max_matching_ngram_size: Any = field(default=None, metadata=_HIDDEN)
    assistant_early_exit: Any = field(default=None, metadata=_HIDDEN)
    assistant_lookbehind: Any = field(default=10, metadata=_HIDDEN)
    target_lookbehind: Any = field(default=10, metadata=_HIDDEN)
    compile_config: Any = field(default=None, metadata=_HIDDEN)
    disable_compile: Any = field(default=False, metadata=_HIDDEN)
    inputs: Any = field(default=None, metadata=_HIDDEN)
    input_ids: Any = field(default=None, metadata=_HIDDEN)
    inputs_embeds: Any = field(default=None, metadata=_HIDDEN)
    attention_mask: Any = field(default=None, metadata=_HIDDEN)
    generation_config: Any = field(default=None, metadata=_HIDDEN)
    logits_processor: Any = field(default=None, metadata=_HIDDEN)
    stopping_criteria: Any = field(default=None, metadata=_HIDDEN)
    prefix_allowed_tokens_fn: Any = field(default=None, metadata=_HIDDEN)
    synced_gpus: Any = field(default=False, metadata=_HIDDEN)
    assistant_model: Any = field(default=None, metadata=_HIDDEN)
    streamer: Any = field(default=None, metadata=_HIDDEN)
    negative_prompt_ids: Any = field(default=None, metadata=_HIDDEN)
    negative_prompt_attention_mask: Any = field(default=None, metadata=_HIDDEN)
    custom_generate: Any = field(default=None, metadata=_HIDDEN)
    tokenizer: Any = field(default=None, metadata=_HIDDEN)


NEUTRAL = {item.name: item.default for item in fields(NoEquivalent) if item.metadata.get("hidden")}


def neutral_problems(body: dict[str, Any]) -> list[str]:
    """A sentence for each argument that would change the text with transformers, and cannot here."""
    return [
        f"{name}: {shown(body[name])} has no equivalent here; allowed: "
        + ("null" if neutral is None else f"{shown(neutral)} or null")
        for name, neutral in NEUTRAL.items()
        if body.get(name) is not None and not _same(body[name], neutral)
    ]


def _same(value: Any, neutral: Any) -> bool:
    """Equal as JSON: 1 is 1.0, but not true."""
    return isinstance(value, bool) == isinstance(neutral, bool) and bool(value == neutral)


def allow_only_neutral(schema: dict[str, Any]) -> None:
    """Tells in a body's JSON schema that these arguments have one value each."""
    for name, neutral in NEUTRAL.items():
        schema["properties"][name] = {"enum": [None] if neutral is None else [neutral, None]}
