"""Text beside llama.cpp: the same GGUF file, prompts and number of threads, the two by turns.

    configs/experiments/models.sh DIR
    mkdir llama && (cd llama && npm install node-llama-cpp@3.22)
    cargo build --release
    python tests/speed/generate.py --llama llama --model DIR/SmolLM2-135M-Instruct.Q4_1.gguf [--run RUN]

First speed: a long prompt is read and followed by some tokens; printed are the medians of tokens a second of both, and their ratio.
Then five prompts are continued greedily, and the tokens compared; with --run (a run on this model) also with its adapter, exported
by `cellm export --format gguf`. llama.cpp rounds activations to eight bits before each product with quantized weights, cellm does
not, so the two may part where two tokens are nearly as likely. Where they do it is said by how much llama.cpp preferred its own.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
PROMPTS = [
    "The capital of France is",
    "Once upon a time there was a little girl who",
    "Water boils at a temperature of",
    "Here is a short list of European countries:",
    "In 1969, the first man on the Moon,",
]
LONG = " ".join(f"On day {day} the ship sailed {7 * day} miles to the west and met {day % 5} others." for day in range(1, 15))


def ended(command, given=None):
    program = subprocess.run(command, input=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if program.returncode:
        sys.exit(f"{command[0]} ended with {program.returncode}: {program.stderr.strip()}")
    return program.stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--llama", required=True, type=pathlib.Path, help="a folder with node_modules/node-llama-cpp")
    parser.add_argument("--model", required=True, type=pathlib.Path, help="a GGUF file")
    parser.add_argument("--run", type=pathlib.Path, help="a run directory whose adapter is compared too")
    parser.add_argument("--cellm", default="target/release/cellm", help="the program")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=64, help="tokens after the long prompt")
    parser.add_argument("--repeat", type=int, default=5, help="measurements of each")
    args = parser.parse_args()
    model = str(args.model.resolve())

    def cellm(text, count, run=None, quantize="keep"):
        settings = [f"model.path={model}", "model.device=cpu", f"model.quantize={quantize}", f"run.threads={args.threads}"]
        options = [option for setting in settings for option in ("--set", setting)] + (["--run", str(run)] if run else [])
        command = [args.cellm, "generate", "--raw", "--json", "--prompt", text, "--max-tokens", str(count), *options]
        return json.loads(ended(command))

    def llama(**request):
        request = {"model": model, "adapter": None, "threads": args.threads} | request
        node = subprocess.run(["node", str(HERE / "generate.mjs")], input=json.dumps(request), cwd=args.llama,
                              stdout=subprocess.PIPE, text=True, check=True)
        return json.loads(node.stdout.strip().splitlines()[-1])

    found = {"cellm, kept blocks": [], "cellm, f32": [], "llama.cpp": []}
    for _ in range(args.repeat):
        for who, quantize in [("cellm, kept blocks", "keep"), ("cellm, f32", "none")]:
            of = cellm(LONG, args.tokens, quantize=quantize)
            seconds = of["seconds"] - of["prompt_seconds"]
            found[who].append((of["prompt_tokens"] / of["prompt_seconds"], (len(of["tokens"]) - 1) / seconds))
        # The first reading of the file's pages is no part of llama.cpp's time either.
        of = llama(prompts=[PROMPTS[0], LONG], count=args.tokens)[1]
        found["llama.cpp"].append((of["read"] / of["prompt_seconds"], (len(of["tokens"]) - 1) / of["seconds"]))
    print(f"{args.threads} threads, tokens a second (medians of {args.repeat}):")
    for who, rates in found.items():
        reading, writing = (statistics.median(column) for column in zip(*rates))
        print(f"  {who:20} reads {reading:7.1f}, writes {writing:6.1f}")
    for who in list(found)[:2]:
        for number, what in enumerate(["reads", "writes"]):
            turns = sorted(ours[number] / theirs[number] for ours, theirs in zip(found[who], found["llama.cpp"]))
            ratio = statistics.median(of[number] for of in found[who]) / statistics.median(of[number] for of in found["llama.cpp"])
            print(f"  {who} / llama.cpp, {what}: {ratio:.2f} (by turns {turns[0]:.2f} to {turns[-1]:.2f})")

    with tempfile.TemporaryDirectory() as made:
        exported = str(pathlib.Path(made) / "adapter.gguf")
        if args.run:
            ended([args.cellm, "export", "--run", str(args.run), "--to", exported, "--format", "gguf"])
        for adapter, run in [(None, None)] + ([(exported, args.run)] if args.run else []):
            print("with the adapter:" if adapter else "without an adapter:")
            theirs = llama(adapter=adapter, prompts=PROMPTS, count=24)
            for prompt, theirs in zip(PROMPTS, theirs):
                ours = cellm(prompt, 24, run)
                compare(prompt, ours, theirs, lambda asked: llama(adapter=adapter, asked=[asked])[0])


def compare(prompt, ours, theirs, ask):
    assert ours["prompt_tokens"] == theirs["read"], f"{prompt!r} has {ours['prompt_tokens']} and {theirs['read']} tokens"
    pairs = list(zip(ours["tokens"], theirs["tokens"]))
    same = next((number for number, (one, other) in enumerate(pairs) if one != other), len(pairs))
    if same == len(pairs):
        return print(f"  {prompt!r}: the same {same} tokens")
    one, other = ask([prompt, ours["tokens"][:same], list(pairs[same])])
    print(f"  {prompt!r}: the same {same} tokens, then llama.cpp prefers its own by {other - one:.3f} nats")


if __name__ == "__main__":
    main()
