"""Training speed on a GPU beside PyTorch: one base of a 1B Llama's shape and random weights, the same adapter and text.

    pip install "peft==0.21.*" transformers torch
    python tests/speed/gpu.py

Makes the model in a temporary folder (2.5 GB), runs `cargo bench --features cuda --bench gpu` and PyTorch with PEFT on it,
each in a process of its own, and prints a Markdown table of the tokens a second, with the mean loss of every row. `--bench
FILE` takes a bench that was built before; `--tiny` a model of two small blocks, to try the script.
"""

import argparse
import datetime
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).parent.parent.parent
LENGTH, STEPS = 128, 10
# Clients side by side, sequences a step of each, a `c` for gradient checkpointing.
SETTINGS = "1x8,1x8c,8x8,1x1,8x1,64x1"


def make(folder, tiny):
    """A folder with a Llama of random weights, in bf16."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    shape = dict(hidden_size=2048, intermediate_size=8192, num_hidden_layers=16, num_attention_heads=32,
                 num_key_value_heads=8, vocab_size=128256)
    if tiny:
        shape = dict(hidden_size=128, intermediate_size=344, num_hidden_layers=2, num_attention_heads=4,
                     num_key_value_heads=2, vocab_size=1024)
    torch.manual_seed(1)
    config = LlamaConfig(**shape, max_position_embeddings=LENGTH, rope_theta=500000.0, rms_norm_eps=1e-5,
                         tie_word_embeddings=True)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    shutil.copy(ROOT / "engine/trainer/bundled/stories260k/tokenizer.json", folder)
    return shape["vocab_size"]


def pytorch(folder, dtype, vocabulary, settings):
    """A measurement a setting, as the bench does it: STEPS steps to warm up, the same steps once more to measure. One client
    at a time: the others wait for it."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_float32_matmul_precision("highest")
    token = lambda row, column: (row * 7919 + column * 1049 + row * column * 31) % vocabulary

    def run(sequences, checkpointing):
        rows = [[token(row, column) for column in range(LENGTH)] for row in range(sequences)]
        ids = torch.tensor(rows, device=device)
        base = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)).to(device)
        if checkpointing:
            base.gradient_checkpointing_enable()
            base.enable_input_require_grads()
        model = PeftModel.from_pretrained(base, f"{folder}/adapter", is_trainable=True).train()
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optimizer = torch.optim.Adam(trained, lr=1e-3)
        losses = []
        if device == "cuda":
            torch.cuda.synchronize()
        began = time.perf_counter()
        for _ in range(STEPS):
            loss = model(input_ids=ids, labels=ids).loss
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            losses.append(loss.item())
        wall = time.perf_counter() - began
        return {"tokens_per_second": STEPS * sequences * LENGTH / wall, "loss": sum(losses) / STEPS}

    for setting in settings:
        sequences, checkpointing = int(setting.rstrip("c").split("x")[1]), setting.endswith("c")
        run(sequences, checkpointing)
        print(json.dumps({"setting": setting, **run(sequences, checkpointing)}), flush=True)


def measured(command):
    """The JSON objects that a command prints, by setting; what it says of an error goes on to stderr."""
    output = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True).stdout
    print(output, file=sys.stderr, flush=True)
    lines = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    return {line["setting"]: line for line in lines}


def device_name():
    import torch

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no GPU"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bench", help="the bench's executable; without it cargo builds and runs it")
    parser.add_argument("--tiny", action="store_true", help="a model of two small blocks")
    parser.add_argument("--dtypes", default="bf16,f32")
    parser.add_argument("--settings", default=SETTINGS, help=f"CLIENTSxSEQUENCES, c for checkpointing; {SETTINGS}")
    parser.add_argument("--pytorch", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.pytorch:
        folder, dtype, vocabulary = arguments.pytorch
        return pytorch(folder, dtype, int(vocabulary), arguments.settings.split(","))
    bench = [arguments.bench] if arguments.bench else ["cargo", "bench", "-q", "--features", "cuda", "--bench", "gpu", "--"]
    print(f"{device_name()}, {datetime.date.today()}, {'a tiny' if arguments.tiny else 'a 1B'} Llama, LoRA r 8 on q and v,")
    print(f"sequences of {LENGTH} tokens, {STEPS} steps of Adam after as many to warm up\n")
    print("| type | clients | sequences | checkpointing | cellm, tokens/s | loss | PyTorch + PEFT, tokens/s | loss |")
    print("| --- | ---: | ---: | --- | ---: | ---: | ---: | ---: |")
    settings = arguments.settings.split(",")
    # PyTorch is measured once for each size of a step.
    sizes = list({setting.split("x")[1]: f"1x{setting.split('x')[1]}" for setting in settings}.values())
    with tempfile.TemporaryDirectory() as folder:
        vocabulary = make(folder, arguments.tiny)
        for dtype in arguments.dtypes.split(","):
            ours = measured(bench + ["speed", folder, dtype] + settings)
            torch_dtype = {"bf16": "bfloat16", "f32": "float32"}[dtype]
            command = [sys.executable, __file__, "--settings", ",".join(sizes), "--pytorch", folder, torch_dtype]
            theirs = measured(command + [str(vocabulary)])
            for setting in settings:
                clients, size = setting.split("x")
                row = [dtype, clients, size.rstrip("c"), "yes" if size.endswith("c") else "no"]
                for found in (ours.get(setting), theirs.get(f"1x{size}")):
                    row += [f"{found['tokens_per_second']:.0f}", f"{found['loss']:.4f}"] if found else ["failed", ""]
                print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
