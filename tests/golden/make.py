"""Makes tests/fixtures/golden: a tiny model of every family with random weights, and what `transformers` and `peft` compute
with it. The Rust tests hold the engine to these numbers.

    pip install torch torchvision pillow transformers peft
    python tests/golden/make.py [NAME...]

A folder has config.json, model.safetensors (f16), tokenizer.json, adapter/ (PEFT, A and B random) and golden.json: token ids
and, of the base and with the adapter, the logits of some positions and the mean loss; of the adapter the gradient, too.
"""

import json
import pathlib
import shutil
import sys

import torch
import transformers
from PIL import Image
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

FOLDER = pathlib.Path(__file__).parent.parent / "fixtures" / "golden"
TOKENS = [3, 17, 42, 5, 63, 9, 9, 28, 51, 0, 33, 12, 60, 7, 21, 44, 2, 38, 19]
# Positions whose logits are kept.
ROWS = [0, 1, 6, 7, 8, 11, 16, 18]
CLASS, CLASSES = 2, 3
SMALL = dict(
    vocab_size=64,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=64,
    tie_word_embeddings=False,
    attn_implementation="eager",
)
LLAMA3 = dict(
    rope_type="llama3",
    rope_theta=100.0,
    factor=8.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=32,
)
ROTARY = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def language_models():
    """Name, config and targets of the causal language models."""
    yield "llama3", transformers.LlamaConfig(**SMALL, rope_parameters=LLAMA3, attention_bias=True, mlp_bias=True), ROTARY
    linear = dict(rope_type="linear", rope_theta=10000.0, factor=4.0)
    tied = SMALL | dict(tie_word_embeddings=True)
    yield "llama-linear", transformers.LlamaConfig(**tied, rope_parameters=linear, head_dim=12), ["q_proj", "v_proj"]
    yield "mistral", transformers.MistralConfig(**SMALL, sliding_window=4), ROTARY
    yield "qwen2", transformers.Qwen2Config(**tied, use_sliding_window=True, sliding_window=5, max_window_layers=1), ROTARY
    yield "qwen3", transformers.Qwen3Config(**SMALL, head_dim=16), ROTARY
    gpt2 = transformers.GPT2Config(
        vocab_size=64, n_positions=48, n_embd=32, n_layer=2, n_head=4, attn_implementation="eager"
    )
    yield "gpt2", gpt2, ["c_attn", "c_proj", "c_fc"]


def classifiers():
    """Those that tell sequences apart by their last token."""
    more = dict(num_labels=CLASSES, pad_token_id=63)
    yield "llama-classes", transformers.LlamaConfig(**SMALL, **more), ["q_proj", "v_proj"]
    gpt2 = transformers.GPT2Config(vocab_size=64, n_positions=48, n_embd=32, n_layer=2, n_head=4, **more)
    yield "gpt2-classes", gpt2, ["c_attn", "c_fc"]


def encoders():
    """Those that read all of a sequence both ways and tell its class by its first token."""
    shared = dict(vocab_size=64, max_position_embeddings=48, num_labels=CLASSES, attn_implementation="eager")
    sizes = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4)
    targets = ["query", "key", "value", "output.dense", "intermediate.dense"]
    yield "bert-classes", transformers.BertConfig(**shared, **sizes, pad_token_id=62), targets
    sizes_of_its_own = dict(dim=32, hidden_dim=48, n_layers=2, n_heads=4)
    targets = ["q_lin", "k_lin", "v_lin", "out_lin", "lin1", "lin2"]
    yield "distilbert-classes", transformers.DistilBertConfig(**shared, **sizes_of_its_own, pad_token_id=62), targets
    yield "roberta-classes", transformers.RobertaConfig(**shared, **sizes, type_vocab_size=1), ["query", "value", "dense"]


def batch(model):
    """Sequences of several lengths, padded and masked as a tokenizer does it: what golden.json says of them."""
    sequences, classes = [TOKENS, TOKENS[3:], TOKENS[:7], [5]], [CLASS, 0, 1, CLASS]
    rows = [sequence + [model.config.pad_token_id] * (len(TOKENS) - len(sequence)) for sequence in sequences]
    mask = [[1] * len(sequence) + [0] * (len(TOKENS) - len(sequence)) for sequence in sequences]
    with torch.no_grad():
        output = model(input_ids=torch.tensor(rows), attention_mask=torch.tensor(mask), labels=torch.tensor(classes))
    return {"sequences": sequences, "classes": classes} | measure(output, None)


# What checkpoints, and adapters made with older versions of `transformers`, call the layers of a ViT.
VIT_NAMES = {
    "vit.layers.": "vit.encoder.layer.",
    "attention.q_proj": "attention.attention.query",
    "attention.k_proj": "attention.attention.key",
    "attention.v_proj": "attention.attention.value",
    "attention.o_proj": "attention.output.dense",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
}


def renamed(name):
    if ".vit." in name:
        for new, old in VIT_NAMES.items():
            name = name.replace(new, old)
    return name


def picture(seed, height, width):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8)


def described(pixels):
    """A picture as golden.json has it."""
    channels, height, width = pixels.shape
    return {"channels": channels, "height": height, "width": width, "pixels": pixels.flatten().tolist()}


def vision(name):
    """A ViT, its preprocessor, what it makes of a picture of its own size, and what it reads, patch by patch, of one that
    has to be made smaller one way and larger the other. Apart, for a resized pixel may be rounded the other way."""
    size, patch = 12, 4
    config = transformers.ViTConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=size,
        patch_size=patch,
        num_labels=CLASSES,
        attn_implementation="eager",
    )
    model = transformers.ViTForImageClassification(config)
    processor = transformers.ViTImageProcessor(size={"height": size, "width": size})
    read = lambda pixels: processor(Image.fromarray(pixels.permute(1, 2, 0).numpy()), return_tensors="pt")["pixel_values"]
    exact, other = picture(3, size, size), picture(4, 10, 17)
    whole = torch.zeros(1, 3 * patch * patch)
    patches = torch.nn.functional.unfold(read(other), patch, stride=patch)[0].T
    about = {
        "tokens": [],
        "rows": [0],
        "classes": CLASSES,
        "class": CLASS,
        "picture": described(exact),
        "resized": {"picture": described(other), "patches": numbers(torch.cat([whole, patches]), 8)},
    }
    inputs = {"pixel_values": read(exact), "labels": torch.tensor([CLASS])}
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "fc1", "fc2"]
    make(name, model, targets, inputs, about, None, modules_to_save=["classifier"])
    folder = FOLDER / name
    (folder / "tokenizer.json").unlink()
    processor.save_pretrained(folder)
    weights = folder / "adapter" / "adapter_model.safetensors"
    save_file({renamed(name): tensor for name, tensor in load_file(weights).items()}, weights)
    weights.chmod(0o644)
    settings = folder / "adapter" / "adapter_config.json"
    config = json.loads(settings.read_text()) | {"target_modules": ["dense", "key", "query", "value"]}
    settings.write_text(json.dumps(config, indent=2) + "\n")


def randomize(model, seed):
    """Random weights, rounded to what an f16 holds: norms around 1, everything else (biases too) around 0."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        is_norm = parameter.dim() == 1 and name.endswith("weight")
        values = 1 + 0.2 * noise if is_norm else 0.25 * noise
        parameter.data = values.half().float()


def numbers(tensor, digits):
    return [float(f"{value:.{digits}g}") for value in tensor.detach().flatten().tolist()]


def save(model, folder):
    """config.json, model.safetensors and a tokenizer of the words w0 to w63."""
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    weights = folder / "model.safetensors"
    # GPT-2's checkpoints on the hub are of the base model, without its name before the tensors'; RoBERTa's may be.
    bare = lambda name: name.removeprefix("transformer.").removeprefix("roberta.")
    tensors = {bare(name): tensor.half() for name, tensor in load_file(weights).items()}
    save_file(tensors, weights, metadata={"format": "pt"})
    weights.chmod(0o644)
    words = {f"w{number}": number for number in range(64)}
    tokenizer = Tokenizer(WordLevel(words, unk_token="w0"))
    tokenizer.pre_tokenizer = Whitespace()
    (folder / "tokenizer.json").write_text(tokenizer.to_str())


def adapted(model, targets, seed, **more):
    config = LoraConfig(r=2, lora_alpha=4, lora_dropout=0.0, target_modules=targets, **more)
    model = get_peft_model(model, config)
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if "lora_" in name or "modules_to_save" in name:
            parameter.data = 0.2 * torch.randn(parameter.shape, generator=generator)
    return model


def gradients(model):
    """By the names that an adapter file has."""
    named = ((name, parameter) for name, parameter in model.named_parameters() if parameter.grad is not None)
    adapter = lambda name: renamed(name.replace(".modules_to_save", "").replace(".default", ""))
    return {adapter(name): numbers(parameter.grad, 6) for name, parameter in named}


def measure(output, rows):
    return {"logits": numbers(output.logits[0, rows] if rows else output.logits, 8), "loss": output.loss.item()}


def make(name, model, targets, inputs, about, rows, several_lengths=False, **more):
    """Writes a folder; `inputs` are those of the model, `about` is what golden.json says of them."""
    model = model.eval()
    randomize(model, 1)
    folder = FOLDER / name
    save(model, folder)
    golden = about | {"base": measure(model(**inputs), rows)}
    model = adapted(model, targets, 2, **more)
    output = model(**inputs)
    output.loss.backward()
    golden["adapter"] = measure(output, rows) | {"gradients": gradients(model)}
    if several_lengths:
        golden["batch"] = batch(model)
    model.save_pretrained(folder / "adapter")
    (folder / "adapter" / "README.md").unlink(missing_ok=True)
    (folder / "adapter" / "adapter_model.safetensors").chmod(0o644)
    settings = folder / "adapter" / "adapter_config.json"
    config = json.loads(settings.read_text())
    config["target_modules"].sort()
    settings.write_text(json.dumps(config, indent=2) + "\n")
    (folder / "golden.json").write_text(json.dumps(golden) + "\n")
    print(folder.name, sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()), "bytes")


def main():
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    wanted = sys.argv[1:]
    ids = torch.tensor([TOKENS])
    for name, config, targets in language_models():
        if not wanted or name in wanted:
            model = transformers.AutoModelForCausalLM.from_config(config)
            about = {"tokens": TOKENS, "rows": ROWS, "classes": 0, "class": None}
            make(name, model, targets, {"input_ids": ids, "labels": ids}, about, ROWS)
    for name, config, targets in classifiers():
        if not wanted or name in wanted:
            model = transformers.AutoModelForSequenceClassification.from_config(config)
            about = {"tokens": TOKENS, "rows": [0], "classes": CLASSES, "class": CLASS}
            inputs = {"input_ids": ids, "labels": torch.tensor([CLASS])}
            make(name, model, targets, inputs, about, None, task_type="SEQ_CLS")
    for name, config, targets in encoders():
        if not wanted or name in wanted:
            model = transformers.AutoModelForSequenceClassification.from_config(config)
            about = {"tokens": TOKENS, "rows": [0], "classes": CLASSES, "class": CLASS}
            inputs = {"input_ids": ids, "labels": torch.tensor([CLASS])}
            make(name, model, targets, inputs, about, None, several_lengths=True, task_type="SEQ_CLS")
    if not wanted or "vit" in wanted:
        vision("vit")


if __name__ == "__main__":
    main()
