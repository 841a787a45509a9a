//! A comparison over made-up run directories: the arithmetic by hand, the table as a snapshot, the page as far as a program
//! can see it.

use std::path::Path;

use super::statistics::{Spread, byte_reduction, first_row_at_target, gain_share, method_statistics, seed_references};
use super::*;

/// A run whose rows are (round, loss, bytes down, bytes up), all bytes values but 10 a row of framing.
fn run(root: &Path, name: &str, rows: &[(u32, Option<f64>, u64, u64)]) -> Run {
    let dir = root.join(name);
    std::fs::create_dir_all(&dir).unwrap();
    let mut text = String::new();
    for (round, loss, down, up) in rows {
        let kinds = |bytes: u64| {
            let framing = bytes.min(10 * u64::from(*round));
            serde_json::json!({ "frames": round, "indices": 0, "values": bytes - framing, "other": 0, "framing": framing })
        };
        let row = serde_json::json!({
            "round": round, "cohort": 2, "completed": 2, "dropped": 0, "train_loss": null, "eval_loss": loss,
            "bytes_down": down, "bytes_up": up, "bytes_total": down + up, "dense_bytes_total": 2000 * round,
            "down": kinds(*down), "up": kinds(*up), "seconds": 0.5,
        });
        text += &format!("{row}\n");
    }
    std::fs::write(dir.join("metrics.jsonl"), text).unwrap();
    let timing =
        serde_json::json!({ "training_cpu_s": 8.0, "evaluation_cpu_s": 1.0, "other_cpu_s": 1.0, "overhead": 0.1 });
    let summary = serde_json::json!({ "clients": 4, "values": 250, "timing": timing });
    std::fs::write(dir.join("summary.json"), summary.to_string()).unwrap();
    Run::read(&dir).unwrap()
}

fn seeded(point: &str, chosen: bool, seed: u64, run: Run) -> SeededRun {
    SeededRun { point: point.into(), chosen, seed, run }
}

/// Dense on two seeds; a sparse method with a sweep that reaches the target; one that never does; one that has no run.
fn comparison(root: &Path) -> Comparison {
    let dense = |seed: u64, end: f64| {
        let rows = [(0, Some(4.0), 0, 0), (1, None, 500, 500), (2, Some(3.2), 1000, 1000), (4, Some(end), 2000, 2000)];
        seeded("", true, seed, run(root, &format!("dense_seed={seed}"), &rows))
    };
    let sparse = |point: &str, chosen: bool, seed: u64, end: f64| {
        let rows = [(0, Some(4.0), 0, 0), (2, Some(3.4), 100, 60), (4, Some(end), 200, 120)];
        seeded(point, chosen, seed, run(root, &format!("sparse_{point}_seed={seed}"), &rows))
    };
    let coarse = |seed: u64| {
        let rows = [(0, Some(4.0), 0, 0), (4, Some(3.6), 100, 50)];
        seeded("", true, seed, run(root, &format!("coarse_seed={seed}"), &rows))
    };
    let method = |name: &str, points, chosen: Option<&str>, runs| Method {
        name: name.into(),
        group: None,
        points,
        seeds: vec![1, 2],
        chosen: chosen.map(str::to_owned),
        runs,
    };
    let tried = vec![
        sparse("client.lr = 0.1", false, 1, 3.9),
        sparse("client.lr = 0.2", true, 1, 2.95),
        sparse("client.lr = 0.2", true, 2, 3.2),
    ];
    Comparison {
        title: "made <up>".into(),
        about: "Two seeds.".into(),
        metric: EvaluationMetric::Loss,
        baseline: "dense".into(),
        target_of: "dense".into(),
        target_gain: 0.95,
        settings: vec![Setting {
            title: String::new(),
            methods: vec![
                method("dense", 1, None, vec![dense(1, 3.0), dense(2, 3.1)]),
                method("sparse", 2, Some("client.lr = 0.2"), tried),
                method("coarse", 1, None, vec![coarse(1), coarse(2)]),
                method("absent", 2, None, Vec::new()),
            ],
        }],
        failed: vec![("absent_seed=1".into(), "the loss is not\nfinite".into())],
        cells: 9,
    }
}

#[test]
fn bytes_to_target_are_those_of_the_first_evaluation_at_or_beyond_it() {
    let root = tempfile::tempdir().unwrap();
    let rows =
        [(0, Some(4.0), 0, 0), (1, None, 5, 5), (2, Some(3.5), 10, 10), (3, Some(3.5), 15, 15), (4, Some(3.6), 20, 20)];
    let run = run(root.path(), "a", &rows);
    let bytes = |target| first_row_at_target(&run, target, EvaluationMetric::Loss).map(|row| row.bytes_total);
    assert_eq!(bytes(3.5), Some(20), "exactly there counts");
    assert_eq!(bytes(3.7), Some(20), "nothing is interpolated between evaluations");
    assert_eq!(bytes(3.49), None);
    assert_eq!(bytes(4.0), Some(0), "before the first byte");
}

#[test]
fn the_target_is_a_share_of_the_gain_of_the_same_seed() {
    let root = tempfile::tempdir().unwrap();
    let comparison = comparison(root.path());
    let setting = &comparison.settings[0];
    // 95% of what dense gained from 4.0 to 3.0, and to 3.1.
    let target = |seed| seed_references(&comparison, setting, seed).unwrap().target.unwrap();
    assert!((target(1) - 3.05).abs() < 1e-9 && (target(2) - 3.145).abs() < 1e-9);
    assert!(seed_references(&comparison, setting, 3).is_none());
    let sparse = method_statistics(&comparison, setting, &setting.methods[1]);
    assert_eq!(sparse.seeds, 2, "points that were not chosen are not reported");
    let only_one = Spread { mean: 320.0, min: 320.0, max: 320.0, count: 1 };
    assert_eq!(sparse.to_target, Some(only_one), "seed 2 ended above its target");
    assert_eq!(sparse.byte_reduction_to_target, None, "no ratio where a seed is missing");
    let gain = sparse.gain_share.unwrap();
    assert!((gain.max - 1.05).abs() < 1e-9 && (gain.min - 0.8 / 0.9).abs() < 1e-9, "{gain:?}");
    let dense = method_statistics(&comparison, setting, &setting.methods[0]);
    assert_eq!(dense.to_target, Some(Spread { mean: 4000.0, min: 4000.0, max: 4000.0, count: 2 }));
    assert_eq!(dense.byte_reduction_to_target.unwrap().mean, 1.0);
}

#[test]
fn gain_and_bytes_are_compared_at_the_last_common_round() {
    let root = tempfile::tempdir().unwrap();
    let base = run(root.path(), "base", &[(0, Some(4.0), 0, 0), (2, Some(3.0), 50, 50), (4, Some(2.0), 100, 100)]);
    let shorter = run(root.path(), "shorter", &[(0, Some(4.2), 0, 0), (2, Some(3.7), 5, 5), (3, None, 7, 7)]);
    assert!((gain_share(&shorter, &base, EvaluationMetric::Loss).unwrap() - 0.5).abs() < 1e-9);
    assert_eq!(byte_reduction(&shorter, &base), Some(10.0));
    let flat = run(root.path(), "flat", &[(0, Some(4.0), 0, 0), (2, Some(4.0), 5, 5)]);
    assert_eq!(gain_share(&shorter, &flat, EvaluationMetric::Loss), None, "no gain has no shares");
}

#[test]
fn the_table_of_made_up_runs_is_as_it_was() {
    let root = tempfile::tempdir().unwrap();
    let found = table::markdown(&comparison(root.path()));
    let expected = include_str!("snapshot.md");
    assert!(found == expected, "found:\n{found}\nexpected:\n{expected}");
}

#[test]
fn the_page_and_the_csv_have_every_method_and_no_outside_resource() {
    let root = tempfile::tempdir().unwrap();
    let comparison = comparison(root.path());
    let page = std::fs::read_to_string(write(&comparison, root.path()).unwrap()).unwrap();
    for part in
        ["made &lt;up&gt;", "<svg", "sparse", "not reached", "client.lr = 0.2", "absent_seed=1: the loss", "of 2 seeds"]
    {
        assert!(page.contains(part), "{part} is not in\n{page}");
    }
    assert!(
        !page.contains("NaN") && !page.contains("<script") && !page.contains("http://") && !page.contains("https://")
    );
    let csv = std::fs::read_to_string(root.path().join("cells.csv")).unwrap();
    let lines: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(lines.len(), 1 + 7);
    assert!(lines.iter().all(|line| line.len() == lines[0].len()), "{csv}");
    let sparse = lines.iter().find(|line| line[1] == "sparse" && line[3] == "true").unwrap();
    assert_eq!(sparse[4..8], ["1", "4", "4", "2.95"]);
    assert_eq!(sparse[10..12], ["320", "4"]);
    assert!(lines.iter().any(|line| line[2] == "client.lr = 0.1" && line[3] == "false"));
}
