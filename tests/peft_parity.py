"""The loss of an adapter as `transformers` and `peft` compute it: mean nats a prediction over the records of a file.

One record is one sequence, tokenized as tokenizer.json and its post-processor say, cut at --max-tokens (special tokens at its
end stay, where a class is predicted); nothing is packed. `cellm eval` on the same model, adapter and file prints the same loss to 1e-3. Where the adapter has a head for classes,
the field --label is predicted; where the model reads pictures, --data is a folder of CIFAR-10's binary version.

With --merged, the folder that `cellm export --merge` wrote is loaded too: its logits have to be those of the base with the
adapter, to 1e-4 (more where the base's type is a half); the largest difference is printed, and above --tolerance the exit
code is 1.

    pip install torch torchvision pillow transformers peft
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
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    PreTrainedTokenizerFast,
)

# By what the model reads, and whether the adapter trains a head.
KINDS = {
    "text": AutoModelForCausalLM,
    "classes of text": AutoModelForSequenceClassification,
    "classes of pictures": AutoModelForImageClassification,
}
# The layers that give classes, by which they are counted.
LAST_LAYERS = ["score", "classifier", "classifier.out_proj"]
# A class, then the planes of 32 by 32 pixels.
CIFAR_RECORD = 1 + 3 * 32 * 32


def records(path):
    opener = gzip.open if path.endswith(".gz") else open
    with opener(path, "rt", encoding="utf-8") as file:
        for line in file:
            if line.strip():
                yield json.loads(line)


def numbered(labels):
    """The classes in the order of a run: sorted, numbers by value."""
    by_value = lambda label: (0, label, "") if isinstance(label, (int, float)) else (1, 0, label)
    return {label: number for number, label in enumerate(sorted(set(labels), key=by_value))}


def sequences(args, longest):
    """Inputs of the model, and what each of its predictions has to be."""
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=f"{args.model}/tokenizer.json")
    classes = numbered(record[args.label] for record in records(args.data)) if args.label else None
    for record in records(args.data):
        if classes:
            ids = tokenizer.encode(record[args.text], truncation=True, max_length=longest)
            yield {"input_ids": torch.tensor([ids])}, torch.tensor([classes[record[args.label]]])
            continue
        ids = torch.tensor([tokenizer.encode(record[args.text])[:longest]])
        if ids.shape[1] > 1:
            yield {"input_ids": ids}, ids[0, 1:]


def pictures(args):
    """As `sequences`, of the training batches of CIFAR-10."""
    from PIL import Image
    from transformers import ViTImageProcessor

    processor = ViTImageProcessor.from_pretrained(args.model)
    batches = sorted(pathlib.Path(args.data).glob("data_batch_*.bin"))
    bytes_ = torch.cat([torch.frombuffer(bytearray(batch.read_bytes()), dtype=torch.uint8) for batch in batches])
    rows = bytes_.reshape(-1, CIFAR_RECORD)
    classes = numbered(rows[:, 0].tolist())
    for row in rows:
        image = Image.fromarray(row[1:].reshape(3, 32, 32).permute(1, 2, 0).numpy())
        yield processor(image, return_tensors="pt"), torch.tensor([classes[row[0].item()]])


def load(args, adapter):
    """The base with its adapter, and the merged model or None."""
    settings = json.loads((adapter / "adapter_config.json").read_text()) if adapter else {}
    kind, more = "text", {}
    if settings.get("modules_to_save"):
        pictures = (pathlib.Path(args.model) / "preprocessor_config.json").exists()
        kind = "classes of pictures" if pictures else "classes of text"
        tensors = load_file(adapter / "adapter_model.safetensors")
        names = [f"base_model.model.{layer}.weight" for layer in LAST_LAYERS]
        # The base may have a head of another task.
        classes = next(tensors[name].shape[0] for name in names if name in tensors)
        more = dict(num_labels=classes, ignore_mismatched_sizes=True)
    model = KINDS[kind].from_pretrained(args.model, dtype=torch.float32, **more)
    if adapter:
        add_residuals(model, adapter)
        model = PeftModel.from_pretrained(model, adapter)
    merged = args.merged and KINDS[kind].from_pretrained(args.merged, dtype=torch.float32)
    for one in filter(None, [model, merged]):
        # Nothing is padded: the last token is the last, whichever it is.
        one.config.pad_token_id = None
        one.eval()
    return kind, model, merged


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
    parser.add_argument("--label", help="the field that holds the class")
    parser.add_argument("--max-tokens", type=int, help="where a record is cut; by default the longest that the model takes")
    args = parser.parse_args()

    kind, model, merged = load(args, args.adapter and pathlib.Path(args.adapter))
    longest = args.max_tokens or getattr(model.config, "max_position_embeddings", None)
    losses, predicted, right, examples, differs = [], 0, 0, 0, 0.0
    with torch.no_grad():
        for inputs, expected in pictures(args) if kind == "classes of pictures" else sequences(args, longest):
            logits = model(**inputs).logits
            if merged:
                differs = max(differs, (merged(**inputs).logits - logits).abs().max().item())
            logits = logits.double() if kind != "text" else logits[0, :-1].double()
            losses.append(torch.nn.functional.cross_entropy(logits, expected, reduction="sum").item())
            right += (logits.argmax(-1) == expected).sum().item()
            predicted += len(expected)
            examples += 1
    found = {"eval_loss": math.fsum(losses) / predicted, "eval_metric": right / predicted}
    found |= {"tokens": predicted, "sequences": examples}
    if merged:
        found["merged_differs"] = differs
    print(json.dumps(found))
    if differs > args.tolerance:
        sys.exit(f"a logit of the merged model differs by {differs}, more than {args.tolerance}")


if __name__ == "__main__":
    main()
