"""The loss of an adapter as `transformers` and `peft` compute it: mean nats a predicted token over the records of a file.

One record is one sequence, tokenized as tokenizer.json and its post-processor say, cut at --max-tokens; nothing is
packed. `cellm eval` on the same model, adapter and file prints the same loss to 1e-3.

With --merged, the folder that `cellm export --merge` wrote is loaded too: its logits have to be those of the base with the
adapter, to 1e-4 (more where the base's type is a half); the largest difference is printed, and above --tolerance the exit
code is 1.

    pip install torch transformers peft
    python tests/peft_parity.py --model engine/trainer/bundled/stories260k --adapter runs/.../adapter --data texts.jsonl
    python tests/peft_parity.py ... --merged merged-folder
"""

import argparse
import gzip
import json
import math
import pathlib
import sys

import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast


def texts(path, field):
    opener = gzip.open if path.endswith(".gz") else open
    with opener(path, "rt", encoding="utf-8") as file:
        for line in file:
            if line.strip():
                yield json.loads(line)[field]


def add_residuals(model, adapter):
    """Adds what an exact aggregation keeps beside the pairs, where the adapter has it."""
    file = pathlib.Path(adapter) / "residual.safetensors"
    for name, residual in load_file(file).items() if file.exists() else []:
        layer = name.removeprefix("base_model.model.").removesuffix(".residual.weight")
        model.get_parameter(layer + ".weight").data += residual


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder of the base model")
    parser.add_argument("--adapter", help="PEFT folder; without it, the base model alone")
    parser.add_argument("--merged", help="folder of the merged model, to compare with base and adapter")
    parser.add_argument("--tolerance", type=float, default=1e-4, help="by how much a logit of the merged model may differ")
    parser.add_argument("--data", required=True, help="a .jsonl or .jsonl.gz file")
    parser.add_argument("--text", default="text", help="the field that holds the text")
    parser.add_argument("--max-tokens", type=int, help="where a record is cut; by default the longest that the model takes")
    args = parser.parse_args()

    tokenizer = PreTrainedTokenizerFast(tokenizer_file=f"{args.model}/tokenizer.json")
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32)
    if args.adapter:
        add_residuals(model, args.adapter)
        model = PeftModel.from_pretrained(model, args.adapter)
    model.eval()
    merged = args.merged and AutoModelForCausalLM.from_pretrained(args.merged, dtype=torch.float32).eval()

    longest = args.max_tokens or model.config.max_position_embeddings
    losses, predicted, differs = [], 0, 0.0
    with torch.no_grad():
        for text in texts(args.data, args.text):
            ids = torch.tensor([tokenizer.encode(text)[:longest]])
            if ids.shape[1] < 2:
                continue
            logits = model(input_ids=ids).logits
            if merged:
                differs = max(differs, (merged(input_ids=ids).logits - logits).abs().max().item())
            logits = logits[0, :-1].double()
            losses.append(torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="sum").item())
            predicted += ids.shape[1] - 1
    found = {"eval_loss": math.fsum(losses) / predicted, "tokens": predicted, "sequences": len(losses)}
    if merged:
        found["merged_differs"] = differs
    print(json.dumps(found))
    if differs > args.tolerance:
        sys.exit(f"a logit of the merged model differs by {differs}, more than {args.tolerance}")


if __name__ == "__main__":
    main()
