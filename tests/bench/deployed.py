"""Deployed federations without training: seconds a round, and CPU seconds of all processes, the broker's among them.

    cargo build --release
    python tests/bench/deployed.py --clients 2 --rank 44        # 1 MB an update

Server and clients on one machine over TLS; clients make their updates up (`client.trainer = "noop"`), and everything is sent as dense f32.
The first two rounds are left out: connections and caches warm up in them.
"""

import argparse
import json
import pathlib
import socket
import statistics
import subprocess
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).parent.parent.parent
WARM = 2


def cpu_seconds(pid):
    """User and system time of a process so far; 0 where it has ended."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / 100


def peak_mb(pid):
    try:
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    # A process that has ended has no memory any more.
    return max((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")), default=0) / 1024


def measure(arguments):
    cellm = str(arguments.binary)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        run = lambda *words: subprocess.run([cellm, *words], check=True, cwd=folder, stdout=subprocess.DEVNULL)
        run("enroll", "init", "fed", "--address", address)
        for client in range(arguments.clients):
            run("enroll", "add", "fed", f"c{client}")
            rows = [json.dumps({"text": f"record {row} of client {client}"}) for row in range(4)]
            (folder / f"c{client}.jsonl").write_text("\n".join(rows) + "\n")
        settings = {
            "link.enrolment": "fed", "server.cohort": arguments.clients, "run.rounds": arguments.rounds, "server.eval_every": 0,
            "client.trainer": "noop", "lora.rank": arguments.rank, "download.policy": "dense", "upload.policy": "dense",
            "download.bits": 32, "upload.bits": 32, "data.validation": 0.0, "link.silence_s": 30.0,
        }
        words = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
        quiet = {"cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        server = subprocess.Popen([cellm, "server", "--out", "run", *words], **quiet)
        clients = [
            subprocess.Popen([cellm, "client", "--credentials", f"fed/c{client}.creds", "--set", f"data.path=c{client}.jsonl"], **quiet)
            for client in range(arguments.clients)
        ]
        seen, rows = {}, folder / "run" / "metrics.jsonl"

        def watch():
            """CPU time by process, when the warm rounds are over and as late as it can be read."""
            while server.poll() is None:
                closed = len(rows.read_text().splitlines()) - 1 if rows.exists() else 0
                pids = [server.pid, *(client.pid for client in clients)]
                broker = folder / "fed" / "broker" / "nats.pid"
                if broker.exists() and broker.read_text().strip():
                    pids.append(int(broker.read_text()))
                if closed >= WARM:
                    for pid in pids:
                        first = seen.setdefault(pid, [closed, cpu_seconds(pid), closed, 0.0, 0.0])
                        now = cpu_seconds(pid)
                        if now >= first[1]:
                            first[2:] = [closed, now, max(first[4], peak_mb(pid))]
                time.sleep(0.01)

        watcher = threading.Thread(target=watch)
        watcher.start()
        assert server.wait(timeout=600) == 0, "the server failed"
        assert all(client.wait(timeout=60) == 0 for client in clients), "a client failed"
        watcher.join()
        closed = [json.loads(line) for line in rows.read_text().splitlines()][1 + WARM :]
        seconds = sorted(row["seconds"] for row in closed)
        cpu = sum((last - first) / max(until - since, 1) for since, first, until, last, _ in seen.values())
        upload = closed[-1]["up"]["values"] / closed[-1]["up"]["frames"]
        return {
            "clients": arguments.clients, "update_mb": upload / 1e6, "rounds": len(seconds),
            "round_p50_s": statistics.median(seconds), "round_p90_s": seconds[int(0.9 * len(seconds))],
            "cpu_s_a_round": cpu, "server_peak_mb": seen[server.pid][4],
        }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / "target/release/cellm")
    parser.add_argument("--clients", type=int, default=2)
    parser.add_argument("--rank", type=int, default=44)
    parser.add_argument("--rounds", type=int, default=40)
    print(json.dumps(measure(parser.parse_args())))


if __name__ == "__main__":
    main()
