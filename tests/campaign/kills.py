#!/usr/bin/env python3
"""Runs of a small federation, killed with SIGKILL at random moments, half of them in their first 300 ms, and resumed until they
are through, or begun again where they never became a run. Each must end with the adapter, the rows and the client rows of an
undisturbed run, to the last digit but the seconds.

    tests/campaign/kills.py [--runs 200] [--seed 1] [--binary target/release/cellm] [--keep DIR]

Prints how many were identical, stuck or different, and exits with 1 unless all were identical. Needs Python alone.
"""

import argparse
import json
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time

SETTINGS = [
    "run.rounds=3", "run.threads=2", "server.cohort=4", "server.over_selection=0.25", "server.eval_every=0",
    "client.steps=2", "server.ema_decay=0.5", "upload.error_feedback=true",
]
EARLY_S = 0.3
ATTEMPTS = 6
STUCK_S = 180


def command(binary, out):
    """What begins the run in `out`, or goes on with it where it is a run."""
    if (out / "journal" / "journal.redb").exists():
        return [binary, "run", "--json", "--resume", "--out", str(out)]
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    return [binary, "run", "--json", "--out", str(out), *settings]


def start(binary, out):
    return subprocess.Popen(
        command(binary, out), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def rows(path):
    """The objects of a file of lines, without their seconds."""
    found = [json.loads(line) for line in path.read_text().splitlines()]
    for row in found:
        row.pop("seconds", None)
    return found


def ended(out):
    """What a run that is through is compared by."""
    summary = json.loads((out / "summary.json").read_text())
    return {
        "adapter": summary["adapter_hash"],
        "metrics.jsonl": rows(out / "metrics.jsonl"),
        "clients.jsonl": rows(out / "clients.jsonl"),
    }


def one(binary, out, delays):
    """Kills the run after each of `delays`, then lets it come to its end. Gives what it ended with, or a reason."""
    for delay in delays:
        process = start(binary, out)
        try:
            process.communicate(timeout=delay)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
    for _ in range(ATTEMPTS):
        process = start(binary, out)
        try:
            _, errors = process.communicate(timeout=STUCK_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return None, f"no end within {STUCK_S} s"
        if process.returncode == 0:
            return ended(out), ""
    return None, f"exit {process.returncode}: {errors.strip()[-400:]}"


def differences(expected, found):
    """Names of the parts that differ, with the first difference of each."""
    for part, value in expected.items():
        if found[part] == value:
            continue
        if isinstance(value, str):
            yield f"{part}: {value} expected, {found[part]} found"
            continue
        for number, (want, got) in enumerate(zip(value, found[part])):
            if want != got:
                keys = [key for key in want if want.get(key) != got.get(key)]
                yield f"{part}, line {number + 1}: " + ", ".join(f"{key} {want[key]} != {got.get(key)}" for key in keys)
                break
        else:
            yield f"{part}: {len(value)} lines expected, {len(found[part])} found"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--binary", default="target/release/cellm")
    parser.add_argument("--keep", help="where runs that were not identical are kept")
    arguments = parser.parse_args()
    binary = str(pathlib.Path(arguments.binary).resolve())
    draw = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory(prefix="kills-") as place:
        place = pathlib.Path(place)
        began = time.monotonic()
        expected, reason = one(binary, place / "undisturbed", [])
        if expected is None:
            sys.exit(f"the undisturbed run failed: {reason}")
        whole = time.monotonic() - began
        print(f"undisturbed: {whole:.1f} s, adapter {expected['adapter'][:16]}", flush=True)
        counts = {"identical": 0, "stuck": 0, "different": 0}
        for number in range(arguments.runs):
            early = number % 2 == 0
            delays = [draw.uniform(0, EARLY_S) if early else draw.uniform(EARLY_S, max(whole, 2 * EARLY_S))]
            if draw.random() < 0.3:
                delays.append(draw.uniform(0, max(whole, EARLY_S)))
            out = place / f"{number:04}"
            found, reason = one(binary, out, delays)
            apart = list(differences(expected, found)) if found else [reason]
            verdict = "identical" if not apart else "different" if found else "stuck"
            counts[verdict] += 1
            if apart:
                killed = ", ".join(f"{delay * 1000:.0f} ms" for delay in delays)
                print(f"run {number}, killed after {killed}: {verdict}: {'; '.join(apart)}", flush=True)
                if arguments.keep:
                    shutil.copytree(out, pathlib.Path(arguments.keep) / f"{number:04}", dirs_exist_ok=True)
            shutil.rmtree(out, ignore_errors=True)
    total = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    print(f"{arguments.runs} runs: {total}")
    sys.exit(0 if counts["identical"] == arguments.runs else 1)


if __name__ == "__main__":
    main()
