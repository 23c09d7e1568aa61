// What the host's parameters mean, in the order in which they are shown. Types, ranges and defaults are the host's own
// and come from its OpenAPI document; what is not told here is shown without an explanation.

export const GROUPS = [
  {
    title: "Length",
    open: true,
    fields: {
      max_tokens: "The most tokens of an answer. A token is about three quarters of an English word.",
      min_tokens: "So many tokens come before the model may end.",
      max_length: "The most tokens of prompt and answer together.",
      stop: "The answer ends before any of these texts. One a line; \\n stands for a line break.",
      include_stop: "Leaves the text that ended the answer at its end.",
      ignore_eos: "Goes on when the model wants to end, up to max_tokens.",
    },
  },
  {
    title: "Choice of words",
    open: true,
    fields: {
      temperature: "How freely words are drawn. 0 always takes the likeliest, above 1 it gets adventurous.",
      top_k: "Draws from so many likeliest tokens only. 1 always takes the likeliest, 0 sets no bound.",
      top_p: "Draws from the likeliest tokens that together have this probability. 1 is off.",
      min_p: "Leaves out tokens below this share of the likeliest one's probability. 0 is off.",
      typical_p: "Prefers tokens about as surprising as is usual at this place. 1 is off.",
      seed: "The same seed gives the same answer to the same prompt. Empty draws anew each time.",
      n: "So many answers at once; you choose with which the conversation goes on.",
    },
  },
  {
    title: "Repetition",
    fields: {
      repeat_penalty: "Above 1 makes tokens less likely that came lately. 1 is off.",
      repeat_last_n: "How many tokens back the penalties look. -1 is the whole context, 0 is off.",
      frequency_penalty: "Makes a token less likely for each time that it came. 0 is off.",
      presence_penalty: "Makes a token less likely once it has come at all. 0 is off.",
      no_repeat_ngram_size: "No run of so many tokens comes twice. 0 is off.",
    },
  },
  {
    title: "Mirostat",
    fields: {
      mirostat: "1 or 2 keeps the text equally surprising throughout, instead of top_k, top_p and min_p. 0 is off.",
      mirostat_tau: "How surprising the text shall be.",
      mirostat_eta: "How fast mirostat adjusts.",
    },
  },
  {
    title: "Form of the answer",
    fields: {
      json_schema: "The answer is JSON of this schema.",
      grammar: "The answer keeps to this grammar, in llama.cpp's GBNF.",
      logit_bias: "Token ids with what is added to their logits, as a JSON object, such as {\"13\": -100}.",
      bad_words: "Rows of token ids of which none ever comes, as a JSON list, such as [[13, 7]].",
      logprobs: "Asks for the probability of each token, and of so many others. They go into the JSON export.",
    },
  },
];

export const OPTIONS = {
  title: "How the model runs",
  fields: {
    ctx_length: "The longest conversation in tokens. More than the model is loaded with has it loaded anew.",
    use_gpu: "Where the model runs. A change has it loaded anew.",
    chat_format: "A chat template instead of the model's own: chatml, llama-2, zephyr, vicuna, alpaca.",
    lora: "Adapters, as a JSON list, such as [{\"model\": \"owner/name/adapter.gguf\", \"scale\": 1}].",
  },
};
