"""Training speed beside PyTorch: the same model, adapter, text, optimizer and thread count, the two by turns.

    pip install "peft==0.21.*" transformers torch
    python tests/speed/compare.py

Runs `cargo bench --bench training` and PyTorch with PEFT on the folder that the bench makes, each in a process of its own,
and prints the medians of the CPU time a step, their ratio, and the mean loss of both, which has to agree: it shows that both
compute the same.
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
VOCABULARY, SEQUENCES, LENGTH, STEPS = 4096, 8, 128, 10


def pytorch(folder):
    """One measurement, as the bench does it: STEPS steps to warm up, the same steps once more to measure."""
    import resource

    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(1)
    token = lambda row, column: (row * 7919 + column * 1049 + row * column * 31) % VOCABULARY
    ids = torch.tensor([[token(row, column) for column in range(LENGTH)] for row in range(SEQUENCES)])

    def run():
        base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        model = PeftModel.from_pretrained(base, f"{folder}/adapter", is_trainable=True).train()
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optimizer = torch.optim.Adam(trained, lr=1e-3)
        cpu, wall, losses = time.process_time(), time.perf_counter(), []
        for _ in range(STEPS):
            loss = model(input_ids=ids, labels=ids).loss
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            losses.append(loss.item())
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        return {"cpu": cpu / STEPS, "wall": wall / STEPS, "loss": sum(losses) / STEPS}

    run()
    measured = run()
    measured["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(measured))


def measured(command):
    output = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(output.strip().splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=5, help="measurements of each")
    parser.add_argument("--cargo", default="cargo", help="what builds and runs the bench")
    parser.add_argument("--pytorch", metavar="DIR", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.pytorch:
        return pytorch(args.pytorch)
    found = {"cellm": [], "PyTorch": []}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(args.repeat):
            found["cellm"].append(measured([args.cargo, "bench", "--quiet", "--bench", "training", "--", folder]))
            found["PyTorch"].append(measured([sys.executable, __file__, "--pytorch", folder]))
    median = lambda who, what: statistics.median(of[what] for of in found[who])
    for who in found:
        cpu, wall, loss, peak = (median(who, what) for what in ("cpu", "wall", "loss", "peak_mb"))
        print(f"{who:8} {cpu * 1e3:7.1f} ms of CPU a step, {wall * 1e3:7.1f} ms of wall time, loss {loss:.6f}, {peak:.0f} MB")
    ratio = median("cellm", "cpu") / median("PyTorch", "cpu")
    turns = sorted(ours["cpu"] / theirs["cpu"] for ours, theirs in zip(found["cellm"], found["PyTorch"]))
    print(f"cellm / PyTorch: {ratio:.2f} of the CPU time (by turns {turns[0]:.2f} to {turns[-1]:.2f}, {args.repeat} of each)")


if __name__ == "__main__":
    main()
