//! The engine's cost around training: 1000 virtual clients that send about 1 MB of dense f32 each, a no-op trainer,
//! everything else real (actors, policies, frames, checksums, aggregation, journal).
//!
//! `cargo bench --bench orchestration` prints CPU-seconds a round (start-up is taken out by the difference of a long and
//! a short run), the peak of resident memory, and the wall time of a three-round run from the command line.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use cellm::config::Config;
use cellm::federation::{self, Start, Summary};
use tokio::sync::{mpsc, watch};

/// The binary's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Repetitions of which the median is printed.
const REPETITIONS: usize = 5;

fn config(rounds: u32) -> Config {
    let mut config = Config::default();
    config.run.rounds = rounds;
    config.lora.rank = 44; // 254,320 values on the bundled model: 1.02 MB
    config.partition.kind = cellm::data::partition::Kind::Iid;
    config.partition.clients = 1000;
    config.server.cohort = 1000;
    config.client.trainer = cellm::trainer::TrainerKind::Noop;
    for section in [&mut config.download, &mut config.upload] {
        section.policy = "dense".into();
        section.bits = cellm::compressor::Bits::ThirtyTwo;
    }
    config
}

fn run(rounds: u32, run_dir: &Path) -> Summary {
    let start = Start { config: config(rounds), effective_toml: String::new(), run_dir: run_dir.into(), resume: false };
    let (progress, _events) = mpsc::unbounded_channel();
    let (_keep, stop) = watch::channel(false);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(federation::run(start, progress, stop)).expect("the run ends")
}

/// CPU seconds of this process so far, all threads, user and system.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let after_name = stat.rsplit(')').next().expect("a name in brackets");
    let ticks: f64 = after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
    ticks / 100.0
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}

fn main() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut number = 0;
    let mut cpu_of = |rounds| {
        number += 1;
        let before = cpu_seconds();
        let summary = run(rounds, &dir.path().join(number.to_string()));
        (cpu_seconds() - before, summary.peak_rss_bytes)
    };
    let mut a_round = Vec::new();
    let mut peak = 0;
    for _ in 0..REPETITIONS {
        let (short, _) = cpu_of(1);
        let (long, rss) = cpu_of(6);
        a_round.push((long - short) / 5.0);
        peak = peak.max(rss);
    }
    println!("1000 clients x 1.02 MB dense f32, no-op trainer, medians of {REPETITIONS}");
    println!("  CPU-seconds a round  {:.2}   (goal: at most 1)", median(a_round));
    println!("  peak resident        {:.0} MB (goal: at most 200)", peak as f64 / 1e6);
    let mut wall = Vec::new();
    for repetition in 0..REPETITIONS {
        let out = dir.path().join(format!("cli-{repetition}"));
        let started = Instant::now();
        let mut command = Command::new(env!("CARGO_BIN_EXE_cellm"));
        command.args(["run", "-q", "--set", "client.trainer=noop", "--set", "run.rounds=3", "--out"]).arg(out);
        assert!(command.output().expect("the binary starts").status.success());
        wall.push(started.elapsed().as_secs_f64());
    }
    println!("3-round no-op run from the command line: {:.2} s (goal: at most 1)", median(wall));
}
