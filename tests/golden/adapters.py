"""Makes tests/fixtures/peft: adapters of the bundled model as `peft` itself writes them, and what `transformers` and `peft`
compute with them. The Rust tests read them as `lora.init` and hold the engine to these numbers.

    pip install torch transformers peft
    python tests/golden/adapters.py

A folder has adapter_config.json, adapter_model.safetensors and golden.json: token ids, and the logits of the last position
(of the classes, where the adapter has a head).
"""

import json
import pathlib
import shutil

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

ROOT = pathlib.Path(__file__).parent.parent.parent
BASE = "engine/trainer/bundled/stories260k"
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
    # A head beside the pairs.
    "score": dict(r=2, lora_alpha=4, target_modules=["q_proj", "v_proj"], task_type="SEQ_CLS"),
}


def make(name, settings):
    kind = AutoModelForSequenceClassification if "task_type" in settings else AutoModelForCausalLM
    more = dict(num_labels=3, pad_token_id=0) if "task_type" in settings else {}

    def base():
        return kind.from_pretrained(ROOT / BASE, dtype=torch.float32, **more)

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
    model.peft_config["default"].base_model_name_or_path = "stories260k"
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    # As everybody else gets it: a fresh base, the adapter read from its folder.
    model = PeftModel.from_pretrained(base(), folder).float().eval()
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([TOKENS])).logits
    last = logits[0] if "task_type" in settings else logits[0, -1]
    numbers = [float(f"{value:.8g}") for value in last.flatten().tolist()]
    (folder / "golden.json").write_text(json.dumps({"tokens": TOKENS, "logits": numbers}) + "\n")
    print(name, sum(file.stat().st_size for file in folder.iterdir()), "bytes")


def main():
    torch.set_num_threads(1)
    for name, settings in ADAPTERS.items():
        make(name, settings)


if __name__ == "__main__":
    main()
