"""Training speed beside PyTorch: the same model, adapter, tokens, optimizer and thread count, the two by turns.

    pip install "peft==0.21.*" transformers torch gguf
    configs/experiments/models.sh DIR
    python tests/speed/compare.py                                              # a Llama of 5 million parameters, random
    python tests/speed/compare.py --row smollm2 --model DIR/SmolLM2-135M-Instruct.Q4_1.gguf
    python tests/speed/compare.py --row minilm --model DIR/all-MiniLM-L6-v2

A row is what is trained (ROWS); its model may be any folder, or GGUF file, of its kind. PyTorch trains a GGUF file's weights as
`transformers` reads them, in f32; a GGUF file is measured a second time with its blocks kept. Each measurement is a process of its
own: some steps to warm up, as many to measure. Printed are medians of the CPU time a step, of the peak memory and the mean loss of
the steps, which has to agree: it shows that both compute the same. Two threads are two clients side by side: their throughput is
compared with one client's by CPU time, as wall time says nothing on a machine that does other work.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).parent.parent.parent
ROWS = {
    "llama5m": dict(targets=["q_proj", "v_proj"], rank=8, classes=0, vocabulary=4096, sequences=8, length=128, steps=10),
    "smollm2": dict(targets=["q_proj", "v_proj"], rank=16, classes=0, vocabulary=49152, sequences=4, length=128, steps=2),
    "minilm": dict(targets=["query", "value"], rank=8, classes=20, vocabulary=30522, sequences=16, length=128, steps=4),
}


def plain_folder(model, folder):
    """The weights of a GGUF file as `transformers` reads them, in a folder of f32."""
    import torch
    from transformers import AutoModelForCausalLM

    read = AutoModelForCausalLM.from_pretrained(model.parent, gguf_file=model.name, dtype=torch.float32)
    plain = type(read)(read.config)
    plain.load_state_dict(read.state_dict())
    plain.save_pretrained(folder)


def pytorch(measurement):
    """One measurement, as the bench does it: some steps to warm up, the same steps once more to measure."""
    import resource

    import torch
    import transformers
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    of = json.loads(measurement)
    torch.set_num_threads(1)
    token = lambda row, column: (row * 7919 + column * 1049 + row * column * 31) % of["vocabulary"]
    ids = torch.tensor([[token(row, column) for column in range(of["length"])] for row in range(of["sequences"])])
    labels = torch.tensor([row % of["classes"] for row in range(of["sequences"])]) if of["classes"] else ids

    def run():
        if of["classes"]:
            read = AutoModelForSequenceClassification
            base = read.from_pretrained(of["model"], dtype=torch.float32, num_labels=of["classes"])
        else:
            base = AutoModelForCausalLM.from_pretrained(of["model"], dtype=torch.float32)
        # The adapter has no dropout, and the frozen model's is off, as in cellm.
        model = PeftModel.from_pretrained(base, of["adapter"], is_trainable=True).eval()
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optimizer = torch.optim.Adam(trained, lr=1e-3)
        cpu, wall, losses = time.process_time(), time.perf_counter(), []
        for _ in range(of["steps"]):
            loss = model(input_ids=ids, labels=labels).loss
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            losses.append(loss.item())
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        return {"cpu": cpu / of["steps"], "wall": wall / of["steps"], "loss": sum(losses) / of["steps"]}

    run()
    measured = run()
    measured["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(measured))


def measured(command):
    output = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(output.strip().splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--row", choices=ROWS, default="llama5m", help="what is trained")
    parser.add_argument("--model", type=pathlib.Path, help="a Hugging Face folder or a GGUF file")
    parser.add_argument("--repeat", type=int, default=5, help="measurements of each")
    parser.add_argument("--bench", help="the bench's program, where it is built already")
    parser.add_argument("--pytorch", metavar="JSON", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.pytorch:
        return pytorch(args.pytorch)
    if args.model is None and args.row != "llama5m":
        parser.error(f"--row {args.row} needs --model")
    bench = [args.bench] if args.bench else ["cargo", "bench", "--quiet", "--bench", "training", "--"]
    with tempfile.TemporaryDirectory() as made:
        made = pathlib.Path(made)
        model = args.model.resolve() if args.model else made / "model"
        gguf = model.suffix == ".gguf"
        if gguf:
            plain_folder(model, made / "plain")
        row = ROWS[args.row] | {"model": str(model), "adapter": str(made / "adapter")}
        ours = {"cellm": row, "two threads": row | {"threads": 2}} | ({"kept blocks": row | {"keep": True}} if gguf else {})
        theirs = row | {"model": str(made / "plain") if gguf else str(model)}
        found = {who: [] for who in [*ours, "PyTorch"]}
        for _ in range(args.repeat):
            for who, measurement in ours.items():
                found[who].append(measured([*bench, json.dumps(measurement)]))
            found["PyTorch"].append(measured([sys.executable, __file__, "--pytorch", json.dumps(theirs)]))

    median = lambda who, what: statistics.median(of[what] for of in found[who])
    for who in found:
        cpu, loss, peak = (median(who, what) for what in ("cpu", "loss", "peak_mb"))
        print(f"{who:12} {cpu * 1e3:8.1f} ms of CPU a step, loss {loss:.6f}, {peak:.0f} MB at most")

    def ratio(words, what, one, other, of=lambda a, b: a / b):
        turns = sorted(of(a[what], b[what]) for a, b in zip(found[one], found[other]))
        whole = of(median(one, what), median(other, what))
        print(f"{words}: {whole:.2f} (by turns {turns[0]:.2f} to {turns[-1]:.2f}, {args.repeat} of each)")

    ratio("CPU time of a step, cellm / PyTorch", "cpu", "cellm", "PyTorch")
    ratio("peak memory, cellm / PyTorch", "peak_mb", "cellm", "PyTorch")
    ratio("throughput of two threads / of one", "cpu", "two threads", "cellm", lambda two, one: 2 * one / two)
    if gguf:
        ratio("CPU time of a step, kept blocks / f32", "cpu", "kept blocks", "cellm")
        ratio("memory of the model, kept blocks / f32", "model_mb", "kept blocks", "cellm")
        loads = [of["load"] for of in found["cellm"]], [of["load"] for of in found["kept blocks"]]
        seconds = [f"{statistics.median(times):.2f} s ({min(times):.2f} to {max(times):.2f})" for times in loads]
        print(f"from nothing to the first step's start: {seconds[0]} in f32, {seconds[1]} with kept blocks")


if __name__ == "__main__":
    main()
