"""Makes tests/fixtures/peft: adapters of the bundled model, and of the tiny ViT of tests/fixtures/golden, as `peft` itself
writes them, and what `transformers` and `peft` compute with them. The Rust tests read them as `lora.init` and hold the engine
to these numbers.

    pip install torch torchvision pillow transformers peft
    python tests/golden/adapters.py [NAME...]

A folder has adapter_config.json, adapter_model.safetensors and golden.json: token ids, and the logits of the last position
(of the classes, where the adapter has a head). The ViT reads the picture of its own golden.json.
"""

import json
import pathlib
import shutil
import sys

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    ViTImageProcessor,
)

ROOT = pathlib.Path(__file__).parent.parent.parent
BASE = ROOT / "engine/trainer/bundled/stories260k"
VIT = ROOT / "tests/fixtures/golden/vit"
FOLDER = ROOT / "tests" / "fixtures" / "peft"
TOKENS = [1, 403, 407, 261, 378, 439, 274, 310, 292, 350]

ADAPTERS = {
    # One expression for the whole path, ranks and alphas by layer, the scale of rsLoRA.
    "patterns": dict(
        r=4,
        lora_alpha=6,
        use_rslora=True,
        target_modules=r".*layers\.[0-2]\.(self_attn\.(q|v)|mlp\.down)_proj",
        rank_pattern={"q_proj": 2, "layers.1.mlp.down_proj": 3},
        alpha_pattern={r"layers\.[01]\.self_attn\.v_proj": 5},
        lora_dropout=0.1,
    ),
    # Resolved to names by PEFT; saved as bf16.
    "all-linear": dict(r=1, lora_alpha=2, target_modules="all-linear"),
    # What takes targets back, and patterns of which two fit: the first one counts.
    "excluded": dict(
        r=2,
        lora_alpha=4,
        target_modules=["q_proj", "v_proj", "down_proj", "query"],
        exclude_modules=["layers.3.self_attn.q_proj", "lm_head"],
        layers_to_transform=[0, 2, 3],
        layers_pattern="layers",
        rank_pattern={".*attn.*": 3, "q_proj": 4, "key": 7},
    ),
    # As tools write them from memory: the adapter's name in the names of tensors, copies of the base's own weights, and pairs
    # that no rule names.
    "named": dict(r=2, lora_alpha=4, target_modules=["q_proj", "v_proj"]),
    # A head beside the pairs.
    "score": dict(r=2, lora_alpha=4, target_modules=["q_proj", "v_proj"], task_type="SEQ_CLS"),
    # The names that `transformers` 5 has for the layers of a ViT, which are not those of its checkpoint.
    "vit": dict(
        r=2,
        lora_alpha=4,
        target_modules=["q_proj", "o_proj", "fc2"],
        rank_pattern={"vit.layers.1.mlp.fc2": 3},
        modules_to_save=["classifier"],
    ),
}


def picture():
    """What the ViT is given: the picture of its golden.json."""
    about = json.loads((VIT / "golden.json").read_text())["picture"]
    size = (about["channels"], about["height"], about["width"])
    pixels = torch.tensor(about["pixels"], dtype=torch.uint8).reshape(size).permute(1, 2, 0)
    return ViTImageProcessor.from_pretrained(VIT)(Image.fromarray(pixels.numpy()), return_tensors="pt")


def make(name, settings):
    sees = name == "vit"
    classifies = "task_type" in settings
    inputs = picture() if sees else {"input_ids": torch.tensor([TOKENS])}
    kind = AutoModelForCausalLM
    if classifies or sees:
        kind = AutoModelForImageClassification if sees else AutoModelForSequenceClassification
    more = dict(num_labels=3, pad_token_id=0) if classifies else {}

    def base():
        return kind.from_pretrained(VIT if sees else BASE, dtype=torch.float32, **more)

    model = get_peft_model(base(), LoraConfig(**settings))
    generator = torch.Generator().manual_seed(len(name))
    for tensor, parameter in model.named_parameters():
        if parameter.requires_grad:
            parameter.data = 0.2 * torch.randn(parameter.shape, generator=generator)
            if name == "all-linear":
                parameter.data = parameter.data.bfloat16()
    folder = FOLDER / name
    shutil.rmtree(folder, ignore_errors=True)
    # What errors and reports say of the base does not depend on where this was run.
    model.peft_config["default"].base_model_name_or_path = "vit" if sees else "stories260k"
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    (folder / "adapter_model.safetensors").chmod(0o644)
    if name == "named":
        weights = folder / "adapter_model.safetensors"
        tensors = {key.replace(".weight", ".default.weight"): tensor for key, tensor in load_file(weights).items()}
        embedding = base().get_input_embeddings().weight.detach().clone()
        tensors["base_model.model.model.embed_tokens.weight"] = embedding
        for part in "AB":
            surplus = tensors[f"base_model.model.model.layers.0.self_attn.q_proj.lora_{part}.default.weight"]
            tensors[f"base_model.model.model.layers.0.self_attn.o_proj.lora_{part}.default.weight"] = surplus.clone()
        save_file(tensors, weights, metadata={"format": "pt"})
        weights.chmod(0o644)
    # As everybody else gets it: a fresh base, the adapter read from its folder.
    model = PeftModel.from_pretrained(base(), folder).float().eval()
    with torch.no_grad():
        logits = model(**inputs).logits
    last = logits[0] if classifies or sees else logits[0, -1]
    numbers = [float(f"{value:.8g}") for value in last.flatten().tolist()]
    tokens = [] if sees else TOKENS
    (folder / "golden.json").write_text(json.dumps({"tokens": tokens, "logits": numbers}) + "\n")
    print(name, sum(file.stat().st_size for file in folder.iterdir()), "bytes")


def main():
    torch.set_num_threads(1)
    for name, settings in ADAPTERS.items():
        if len(sys.argv) < 2 or name in sys.argv[1:]:
            make(name, settings)


if __name__ == "__main__":
    main()
