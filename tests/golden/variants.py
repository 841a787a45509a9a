"""Makes tests/fixtures/golden/variants.json: what `transformers` computes with the models of tests/fixtures/golden where a key of
their config.json, or a tensor, is another; and tests/fixtures/golden/keys.json: the keys of every configuration class with
their defaults. The Rust tests hold the engine to both.

    pip install torch transformers
    python tests/golden/variants.py

A variant is a folder of tests/fixtures/golden, keys that are set in or dropped from its config.json, tensors that are dropped
or made by a factor from another, token ids, and the loss and some logits of them.
"""

import dataclasses
import json
import pathlib
import shutil
import tempfile

import torch
import transformers
from safetensors.torch import load_file, save_file

FOLDER = pathlib.Path(__file__).parent.parent / "fixtures" / "golden"
TOKENS = [3, 17, 42, 5, 63, 9, 9, 28, 51, 0, 33, 12, 60, 7, 21, 44, 2, 38, 19]
YARN = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=16)
HEAD = "lm_head.weight"
TABLE = "model.embed_tokens.weight"


def variants():
    """Name, folder, and what differs."""

    def rope(name, **keys):
        return f"rope: {name}", "llama-linear", dict(set=dict(rope_parameters=None) | keys)

    plain = dict(rope_type="default", rope_theta=777.0)
    yield rope("theta in the table", rope_theta=10000.0, rope_parameters=plain)
    yield rope("theta beside it", rope_theta=500.0)
    yield rope("theta nowhere", rope_parameters=dict(rope_type="linear", factor=2.0))
    yield rope("the old name of the type", rope_theta=500.0, rope_scaling=dict(type="linear", factor=2.0))
    yield rope("rope_scaling over rope_parameters", rope_scaling=dict(type="linear", factor=3.0), rope_parameters=plain)
    yield rope("an empty rope_scaling", rope_scaling={}, rope_parameters=plain)
    yield rope("a factor without a type", rope_scaling=dict(factor=2.0))
    yield rope("a partial factor beside the default", partial_rotary_factor=0.5)
    yield rope("dynamic", rope_scaling=dict(type="dynamic", factor=2.0))
    llama3 = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0)
    yield rope("llama3 without its length", rope_theta=100.0, rope_scaling=llama3)
    outside = dict(original_max_position_embeddings=24)
    within = llama3 | dict(original_max_position_embeddings=48)
    yield rope("llama3 with its length outside", rope_theta=100.0, rope_scaling=within, **outside)
    for name, more in {
        "yarn": {},
        "yarn, betas": dict(beta_fast=4, beta_slow=2),
        "yarn, not truncated": dict(truncate=False),
        "yarn, truncate null": dict(truncate=None),
        "yarn, an attention factor": dict(attention_factor=1.75),
        "yarn, two scales": dict(mscale=1.0, mscale_all_dim=0.5),
        "yarn, one scale": dict(mscale=0.5),
        "yarn, factor null": dict(factor=None),
    }.items():
        yield rope(name, rope_theta=100.0, rope_scaling=YARN | more)
    without = {key: value for key, value in YARN.items() if key != "original_max_position_embeddings"}
    yield rope("yarn without its length", rope_theta=100.0, rope_scaling=without)
    yield rope("yarn with its length outside", rope_theta=100.0, rope_scaling=YARN, **outside)

    own = {HEAD: [TABLE, 1.5]}
    yield "tied, a head with the same values", "llama-linear", dict(tensors={HEAD: [TABLE, 1.0]})
    yield "tied, a head of its own", "llama-linear", dict(tensors=own)
    yield "tied by nothing, a head of its own", "llama-linear", dict(tensors=own, drop=["tie_word_embeddings"])
    yield "tied, the head alone", "llama-linear", dict(tensors=own, drop_tensors=[TABLE])
    yield "gpt2 with a head of its own", "gpt2", dict(tensors={HEAD: ["wte.weight", 0.5]})
    yield "gpt2 that ties nothing", "gpt2", dict(tensors={HEAD: ["wte.weight", 0.5]}, set=dict(tie_word_embeddings=False))

    yield "hidden_act swish", "llama3", dict(set=dict(hidden_act="swish"))
    yield "rms_norm_eps", "llama3", dict(set=dict(rms_norm_eps=0.5))
    yield "rms_norm_eps missing", "llama3", dict(drop=["rms_norm_eps"])
    yield "mistral, no window", "mistral", dict(set=dict(sliding_window=None))
    yield "mistral, the window missing", "mistral", dict(drop=["sliding_window"])
    yield "mistral, layer_types", "mistral", dict(set=dict(layer_types=["full_attention", "sliding_attention"]))
    yield "llama, a window that its class lacks", "llama3", dict(set=dict(sliding_window=3))
    types = ["sliding_attention", "full_attention"]
    yield "qwen2, layer_types", "qwen2", dict(set=dict(layer_types=types))
    yield "qwen2, max_window_layers", "qwen2", dict(set=dict(max_window_layers=0), drop=["layer_types"])
    yield "qwen2, max_window_layers missing", "qwen2", dict(drop=["max_window_layers", "layer_types"])
    yield "qwen2, no window", "qwen2", dict(set=dict(use_sliding_window=False), drop=["layer_types"])
    yield "qwen3, layer_types", "qwen3", dict(set=dict(use_sliding_window=True, sliding_window=4, layer_types=types))
    yield "gpt2, not scaled", "gpt2", dict(set=dict(scale_attn_weights=False))
    yield "gpt2, scaled by layer", "gpt2", dict(set=dict(scale_attn_by_inverse_layer_idx=True))
    yield "gpt2, upcast", "gpt2", dict(set=dict(reorder_and_upcast_attn=True))
    yield "gpt2, gelu", "gpt2", dict(set=dict(activation_function="gelu"))
    yield "gpt2, gelu_fast", "gpt2", dict(set=dict(activation_function="gelu_fast"))
    yield "gpt2, layer_norm_epsilon", "gpt2", dict(set=dict(layer_norm_epsilon=0.5))
    yield "gpt2, the names of other classes", "gpt2", dict(set=dict(n_head=2, num_attention_heads=4))
    yield "gpt2, n_head", "gpt2", dict(set=dict(n_head=2))
    ends = TOKENS + [63, 63]
    yield "padding at the end", "llama-classes", dict(tokens=ends)
    yield "no padding at the end", "llama-classes", dict(tokens=ends, set=dict(pad_token_id=None))
    yield "padding that is no token", "llama-classes", dict(tokens=ends, set=dict(pad_token_id=-1))
    yield "padding alone", "llama-classes", dict(tokens=[63, 63])
    yield "gpt2, padding at the end", "gpt2-classes", dict(tokens=ends)

    norm = "bert.embeddings.LayerNorm"
    old = {f"{norm}.gamma": [f"{norm}.weight", 1.5], f"{norm}.beta": [f"{norm}.bias", 0.5]}
    yield "bert, the old names of a norm", "bert-classes", dict(tensors=old, drop_tensors=[f"{norm}.weight", f"{norm}.bias"])
    yield "bert, layer_norm_eps", "bert-classes", dict(set=dict(layer_norm_eps=0.5))
    yield "bert, gelu_new", "bert-classes", dict(set=dict(hidden_act="gelu_new"))
    yield "bert, num_attention_heads", "bert-classes", dict(set=dict(num_attention_heads=2))
    yield "bert, is_causal", "bert-classes", dict(set=dict(is_causal=True))
    yield "bert, one token", "bert-classes", dict(tokens=[5])
    yield "bert, padding that is read", "bert-classes", dict(set=dict(pad_token_id=17))
    yield "distilbert, gelu_new", "distilbert-classes", dict(set=dict(activation="gelu_new"))
    yield "distilbert, the names of other classes", "distilbert-classes", dict(set=dict(n_heads=2, num_attention_heads=4))
    yield "roberta, padding inside", "roberta-classes", dict(tokens=[3, 1, 17, 42, 1, 1, 5, 63])
    yield "roberta, pad_token_id", "roberta-classes", dict(set=dict(pad_token_id=3))
    yield "roberta, padding first", "roberta-classes", dict(tokens=[7, 5, 7], set=dict(pad_token_id=7))


def patched(folder, base, change):
    """A copy of a model with the change."""
    shutil.copytree(FOLDER / base, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("adapter"))
    config = json.loads((folder / "config.json").read_text()) | change.get("set", {})
    for key in change.get("drop", []):
        config.pop(key, None)
    (folder / "config.json").write_text(json.dumps(config))
    weights = folder / "model.safetensors"
    tensors = {name: tensor.float() for name, tensor in load_file(weights).items()}
    for name, (source, factor) in change.get("tensors", {}).items():
        tensors[name] = tensors[source] * factor
    for name in change.get("drop_tensors", []):
        tensors.pop(name)
    weights.unlink()
    save_file(tensors, weights, metadata={"format": "pt"})


def measure(name, base, change):
    tokens = change.pop("tokens", TOKENS)
    with tempfile.TemporaryDirectory() as folder:
        patched(pathlib.Path(folder), base, change)
        classes = "classes" in base
        kind = transformers.AutoModelForSequenceClassification if classes else transformers.AutoModelForCausalLM
        model = kind.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
        ids = torch.tensor([tokens])
        with torch.no_grad():
            output = model(input_ids=ids, labels=torch.tensor([2]) if classes else ids)
    last = output.logits[0] if classes else output.logits[0, -1]
    logits = [float(f"{value:.8g}") for value in last.flatten().tolist()]
    return dict(name=name, base=base, tokens=tokens, loss=output.loss.item(), logits=logits) | change


def keys():
    """The keys of every class with their defaults."""
    classes = ["Bert", "DistilBert", "GPT2", "Llama", "Mistral", "Qwen2", "Qwen3", "Roberta", "ViT"]
    found = {}
    for name in classes:
        config = getattr(transformers, f"{name}Config")
        fields = {field.name: field.default for field in dataclasses.fields(config)}
        found[config.model_type] = dict(sorted(fields.items()))
    return found


def main():
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    rows = [json.dumps(measure(*variant)) for variant in variants()]
    (FOLDER / "variants.json").write_text("[\n" + ",\n".join(rows) + "\n]\n")
    (FOLDER / "keys.json").write_text(json.dumps(keys(), indent=1) + "\n")
    print(len(rows), "variants")


if __name__ == "__main__":
    main()
