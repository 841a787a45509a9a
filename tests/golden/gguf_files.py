"""Makes tests/fixtures/gguf: tiny GGUF files with random weights, and what `gguf` and `transformers` make of them. The Rust
tests hold the engine to these numbers.

    pip install torch transformers gguf sentencepiece
    python tests/golden/gguf_files.py

blocks.gguf has a tensor of every type of blocks, blocks.f32 their values by gguf.quants, one after the other. A model NAME.gguf
has all that a model needs; NAME.json has token ids with the logits of some positions and the mean loss, texts with their token
ids, and a conversation as its chat template renders it.
"""

import json
import pathlib

import gguf
import numpy
import torch
import transformers
from gguf import GGMLQuantizationType as Type
from transformers.convert_slow_tokenizer import bytes_to_unicode

FOLDER = pathlib.Path(__file__).parent.parent / "fixtures" / "gguf"
TYPES = ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"]
# Where the half-precision scales of a block lie.
SCALES = dict(Q8_0=[0], Q4_0=[0], Q4_1=[0, 2], Q5_0=[0], Q5_1=[0, 2], Q2_K=[80, 82], Q3_K=[108], Q4_K=[0, 2], Q5_K=[0, 2])
SCALES["Q6_K"] = [208]
TOKENS = [3, 17, 142, 5, 63, 9, 9, 228, 51, 0, 33, 12, 160, 7, 21, 44, 2, 38, 19]
ROWS = [0, 1, 6, 11, 18]
TEXTS = [
    "",
    " ",
    "hello world",
    " the end  of   it\n\n\tall ",
    "It's 12345 o'clock, I'LL say: \"no\"!!",
    "naïve café 東京 🙂 ½ ́x",
    "<s>a</s> <tool>b</tool>",
    "x = [1, 2] # y\r\n",
]
TALK = [dict(role="user", content="hello"), dict(role="assistant", content="the world")]
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<{{ m.role }}> {{ m.content }}{{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
SMALL = dict(
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=64,
    rms_norm_eps=1e-5,
    attn_implementation="eager",
)
LLAMA3 = dict(rope_type="llama3", rope_theta=100.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0)
LLAMA3["original_max_position_embeddings"] = 32
# Module of a block in checkpoints, in files.
INSIDE = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
OUTSIDE = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}


def blocks():
    """A tensor of every type: random bytes, with scales that are numbers of a usual size."""
    random = numpy.random.default_rng(7)
    writer = gguf.GGUFWriter(FOLDER / "blocks.gguf", "llama")
    values = []
    for name in TYPES:
        kind = Type[name]
        size, length = gguf.GGML_QUANT_SIZES[kind]
        count = 512 // size
        if name in SCALES:
            data = random.integers(0, 256, (count, length), dtype=numpy.uint8)
            for at in SCALES[name]:
                scales = random.normal(size=(count, 1)).astype(numpy.float16)
                data[:, at : at + 2] = scales.view(numpy.uint8)
        else:
            floats = random.normal(size=(count, size)).astype(numpy.float32)
            data = gguf.quants.quantize(floats, kind).view(numpy.uint8).reshape(count, length)
        values.append(gguf.quants.dequantize(data, kind).astype("<f4").flatten())
        # Two rows: so a row is a block, or several.
        writer.add_tensor(name, data.reshape(2, -1).copy(), raw_dtype=kind)
    finish(writer)
    numpy.concatenate(values).tofile(FOLDER / "blocks.f32")


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def byte_level(writer, pre):
    """A vocabulary of bytes, some merges, and tokens of control and of users."""
    merges = ["h e", "l l", "he ll", "hell o", "Ġ t", "Ġt h", "Ġth e", "Ġ w", "o r", "Ġw or", "1 2", "Ġ Ġ", "e n", "en d"]
    merges += ["Ġ Ġthe", "' s", "ĠĠ Ġ", "Ċ Ċ", "L L", "3 4", "12 3"]
    plain = sorted(bytes_to_unicode().values()) + [merge.replace(" ", "") for merge in merges]
    # Two tokens of more than a piece can be put together from: only whole pieces find them.
    plain += ["Ġsay", "12345"]
    tokens = plain + ["<tool>", "</tool>", "<s>", "</s>", "<pad>"]
    kinds = [1] * len(plain) + [4, 4, 3, 3, 3]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_merges(merges)
    return tokens, kinds, None


def characters(writer):
    """A SentencePiece vocabulary: bytes, letters, and words with scores."""
    words = ["▁t", "he", "▁the", "ll", "hell", "hello", "▁hello", "or", "▁w", "▁wor", "▁▁", "▁▁▁", "en", "end", "▁end", "12", "llo"]
    letters = sorted(set("▁abcdefghijklmnopqrstuvwxyzILTx'123456!:,é"))
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)] + words + letters + ["<tool>", "</tool>", "<pad>"]
    kinds = [2, 3, 3] + [6] * 256 + [1] * (len(words) + len(letters)) + [4, 4, 3]
    scores = [0.0] * 259 + [-float(rank // 2) for rank in range(len(words))] + [-100.0] * (len(letters) + 3)
    writer.add_tokenizer_model("llama")
    return tokens, kinds, scores


def tokenizer(writer, pre):
    """Writes the vocabulary; gives its size."""
    tokens, kinds, scores = characters(writer) if pre is None else byte_level(writer, pre)
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    if scores:
        writer.add_token_scores(scores)
    for name, add in dict(bos="<s>", eos="</s>", pad="<pad>").items():
        getattr(writer, f"add_{name}_token_id")(tokens.index(add))
    writer.add_add_bos_token(pre != "qwen2")
    writer.add_chat_template(TEMPLATE)
    return len(tokens)


def interleaved(weight, heads):
    """The rows as llama.cpp's converter orders those of a Llama's queries and keys."""
    return weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def plain(weight, heads):
    """Back again."""
    return weight.reshape(heads, weight.shape[0] // heads // 2, 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def model(name, make, kinds, pre, more=lambda writer: None):
    """Writes a model, whose matrices have the types `kinds` in turn."""
    torch.manual_seed(5)
    path = FOLDER / f"{name}.gguf"
    arch = name.split("-")[0]
    writer = gguf.GGUFWriter(path, arch)
    vocabulary = tokenizer(writer, pre)
    config = make(vocab_size=vocabulary)
    reference = transformers.AutoModelForCausalLM.from_config(config).eval()
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(vocabulary)
    writer.add_key_length(head)
    writer.add_value_length(head)
    if arch != "qwen2":
        writer.add_rope_dimension_count(head)
    if config.rope_parameters["rope_type"] == "llama3":
        plain_turns = config.rope_parameters["rope_theta"] ** -(numpy.arange(0, head, 2) / head)
        slowed = reference.model.rotary_emb.inv_freq.numpy()
        writer.add_tensor("rope_freqs.weight", (plain_turns / slowed).astype(numpy.float32))
    more(writer)
    state, matrices = {}, 0
    for tensor, value in reference.state_dict().items():
        if tensor == "lm_head.weight" and config.tie_word_embeddings:
            continue
        module, part = tensor.rsplit(".", 1)
        if module in OUTSIDE:
            stored = f"{OUTSIDE[module]}.{part}"
        else:
            _, _, block, inside = module.split(".", 3)
            stored = f"blk.{block}.{INSIDE[inside]}.{part}"
        value = torch.randn(value.shape) * 0.3 + (1.0 if "norm" in tensor else 0.0)
        value = value.numpy()
        heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}.get(module.rsplit(".", 1)[-1])
        turned = heads is not None and arch in ["llama", "mistral"]
        value = interleaved(value, heads) if turned else value
        kind = Type.F32
        if value.ndim == 2:
            kind, matrices = Type[kinds[matrices % len(kinds)]], matrices + 1
        data = gguf.quants.quantize(value, kind)
        writer.add_tensor(stored, data, raw_dtype=kind)
        value = gguf.quants.dequantize(data, kind).reshape(value.shape)
        state[tensor] = torch.from_numpy(plain(value, heads).copy() if turned else value.copy())
    finish(writer)
    reference.load_state_dict(state, strict=not config.tie_word_embeddings)
    reference.tie_weights()
    tokens = torch.tensor([TOKENS])
    with torch.no_grad():
        output = reference(tokens, labels=tokens)
    if arch == "qwen2":
        # The loader of transformers makes the same model of the file. Of a Llama it reads neither factors of rotary pairs nor
        # biases, which llama.cpp does, of a Qwen 3 no size of heads, and of a Mistral nothing.
        loaded = transformers.AutoModelForCausalLM.from_pretrained(FOLDER, gguf_file=path.name, attn_implementation="eager")
        with torch.no_grad():
            far = (loaded(tokens).logits - output.logits).abs().max()
        assert far < 1e-5, (name, far)
    loaded = transformers.AutoTokenizer.from_pretrained(FOLDER, gguf_file=path.name)
    if pre == "llama-bpe":
        # As in the tokenizer.json of Llama 3 and in llama.cpp; the loader leaves it out.
        loaded.backend_tokenizer.model.ignore_merges = True
    golden = dict(
        tokens=TOKENS,
        rows=ROWS,
        logits=[round(value, 6) for value in output.logits[0, ROWS, ::16].flatten().tolist()],
        step=16,
        loss=output.loss.item(),
        texts=[dict(text=text, ids=loaded(text)["input_ids"]) for text in TEXTS],
        messages=TALK,
        rendered=loaded.apply_chat_template(TALK, tokenize=False),
    )
    (FOLDER / f"{name}.json").write_text(json.dumps(golden) + "\n")


def main():
    FOLDER.mkdir(exist_ok=True)
    blocks()
    llama = lambda **more: transformers.LlamaConfig(**SMALL, rope_parameters=LLAMA3, tie_word_embeddings=True, **more)
    model("llama", llama, ["Q8_0", "Q4_1", "Q5_0"], "llama-bpe")
    biased = lambda **more: transformers.LlamaConfig(**SMALL, head_dim=8, attention_bias=True, mlp_bias=True, **more)
    model("llama-biases", biased, ["F16", "Q4_0"], "llama-bpe")
    mistral = lambda **more: transformers.MistralConfig(**SMALL, sliding_window=None, **more)
    model("mistral", mistral, ["Q5_1", "BF16"], None)
    model("qwen2", lambda **more: transformers.Qwen2Config(**SMALL, **more), ["Q4_0", "Q8_0"], "qwen2")
    model("qwen3", lambda **more: transformers.Qwen3Config(**SMALL, head_dim=16, **more), ["F16", "Q5_0"], "qwen2")


if __name__ == "__main__":
    main()
