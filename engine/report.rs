//! The report: run directories in, one self-contained HTML page out (no script, no external resource), or the comparison
//! alone as Markdown or CSV.
//!
//! It reads files alone (`metrics.jsonl`, `clients.jsonl`, `summary.json`, `config.toml`), so it also works on a run that
//! is still going on, was killed, or was made by another version: fields it does not know are ignored.

mod compare;
mod completions;
mod config;
mod escape;
mod evaluation_metric;
mod format;
mod html;
pub mod methods;
mod plot;
mod run;
mod tables;
mod text;

use std::path::{Path, PathBuf};

pub use config::Config;
pub use evaluation_metric::EvaluationMetric;
pub use format::{bytes, duration, loss, percent, ratio};
pub use methods::{Comparison, write as write_comparison};
pub use run::{Completion, Run};

/// A failure to read runs or to write the report's page.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// No run was named.
    #[error("no run directory given")]
    NoRuns,
    /// The baseline is not among the runs.
    #[error("the baseline {found} is none of the runs: {}", .known.join(", "))]
    Baseline {
        /// Name or directory that was given as the baseline.
        found: PathBuf,
        /// Names of the runs.
        known: Vec<String>,
    },
    /// A file of a run directory is missing or unreadable.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A line of a `.jsonl` file is not what it must be.
    #[error("{path}, line {line}: {reason}")]
    Line {
        /// The file.
        path: PathBuf,
        /// Line number from 1.
        line: usize,
        /// The parser's message, with the column.
        reason: String,
    },
    /// The page could not be written.
    #[error("cannot write {path}")]
    Write {
        /// The page.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
}

/// Reads the run directories and writes one page about them to `to`; several runs share each plot. A name that ends in
/// `.md` or `.csv` gets the comparison table alone. Ratios are against `baseline`, one of the runs, by its directory or that
/// directory's name; unset takes one called `dense`, else the one with most bytes a round.
///
/// # Errors
/// A run directory without a readable `metrics.jsonl`, a corrupt line in it, a baseline that is none of the runs, or a page
/// that cannot be written.
pub fn write(run_dirs: &[PathBuf], to: &Path, baseline: Option<&Path>) -> Result<(), ReportError> {
    let mut runs = run_dirs.iter().map(|dir| Run::read(dir)).collect::<Result<Vec<_>, _>>()?;
    if let Some(baseline) = baseline {
        let names: Vec<String> = runs.iter().map(|run| run.name.clone()).collect();
        let known = runs.iter_mut().find(|run| run.is_named(baseline));
        known.ok_or(ReportError::Baseline { found: baseline.into(), known: names })?.is_named_baseline = true;
    }
    if runs.is_empty() {
        return Err(ReportError::NoRuns);
    }
    let write = |source| ReportError::Write { path: to.to_owned(), source };
    if let Some(parent) = to.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent).map_err(write)?;
    }
    let text = match to.extension().and_then(|extension| extension.to_str()) {
        Some("md") => text::markdown(&runs),
        Some("csv") => text::csv(&runs),
        _ => html::page(&runs),
    };
    std::fs::write(to, text).map_err(write)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir(rows: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("metrics.jsonl"), rows).unwrap();
        dir
    }

    fn row(round: u32, loss: &str, bytes: u64) -> String {
        format!(
            r#"{{"round":{round},"cohort":8,"completed":7,"dropped":1,"train_loss":null,"eval_loss":{loss},"bytes_down":{bytes},"bytes_up":1,"bytes_total":{},"seconds":0.5}}"#,
            bytes + 1
        ) + "\n"
    }

    fn page(dirs: &[&tempfile::TempDir]) -> Result<String, ReportError> {
        written(dirs, "deep/report.html")
    }

    fn written(dirs: &[&tempfile::TempDir], name: &str) -> Result<String, ReportError> {
        let out = tempfile::tempdir().unwrap();
        let to = out.path().join(name);
        write(&dirs.iter().map(|dir| dir.path().to_owned()).collect::<Vec<_>>(), &to, None)?;
        Ok(std::fs::read_to_string(to).unwrap())
    }

    #[test]
    fn ratios_are_against_the_run_that_is_named_else_the_one_called_dense() {
        let root = tempfile::tempdir().unwrap();
        let run = |name: &str, bytes: u64| {
            let dir = root.path().join(name);
            std::fs::create_dir(&dir).unwrap();
            std::fs::write(dir.join("metrics.jsonl"), row(0, "4.0", 0) + &row(1, "3.0", bytes)).unwrap();
            dir
        };
        let dirs = [run("flora", 300_000), run("20260101-000000-dense", 100_000), run("sparse", 10_000)];
        let to = root.path().join("table.md");
        let marked = |baseline: Option<&Path>| {
            write(&dirs, &to, baseline).unwrap();
            let table = std::fs::read_to_string(&to).unwrap();
            table.lines().find(|line| line.contains("(baseline)")).map(str::to_owned).unwrap()
        };
        assert!(marked(None).starts_with("| 20260101-000000-dense (baseline)"));
        assert!(marked(Some(&dirs[2])).starts_with("| sparse (baseline)"));
        assert!(marked(Some(Path::new("flora"))).starts_with("| flora (baseline)"));
        let error = write(&dirs, &to, Some(Path::new("dense"))).unwrap_err().to_string();
        assert_eq!(error, "the baseline dense is none of the runs: flora, 20260101-000000-dense, sparse");
    }

    #[test]
    fn one_run_gives_a_page_without_script_or_external_resource() {
        let run = dir(&(row(0, "4.4", 0) + &row(1, "null", 900) + &row(2, "3.5", 1800)));
        std::fs::write(run.path().join("config.toml"), "[run]\nname = \"<b>&co\"\n").unwrap();
        let page = page(&[&run]).unwrap();
        assert!(page.contains("<svg") && page.contains("3.500"));
        assert!(page.contains("&lt;b&gt;&amp;co") && !page.contains("<b>&co"));
        assert!(!page.contains("<script") && !page.contains("http://") && !page.contains("https://"));
    }

    #[test]
    fn a_run_without_losses_and_a_run_of_one_round_have_a_page() {
        let noop = dir(&row(1, "null", 900));
        assert!(page(&[&noop]).unwrap().contains("no loss was measured"));
        let single = dir(&row(1, "4.0", 900));
        assert!(page(&[&single]).unwrap().contains("<svg"));
        let empty = dir("");
        assert!(page(&[&empty]).unwrap().contains("no round was closed"));
    }

    #[test]
    fn drops_rounds_without_a_quorum_and_the_accuracy_stand_on_the_page() {
        let row = |round: u32, completed: u32, dropped: u32| {
            format!(
                r#"{{"round":{round},"cohort":4,"completed":{completed},"dropped":{dropped},"quorum":{},"train_loss":null,"eval_loss":{},"eval_metric":0.25,"bytes_down":1,"bytes_up":1,"bytes_total":2}}"#,
                if round == 0 { 0 } else { 3 },
                4.0 - f64::from(round)
            ) + "\n"
        };
        let run = dir(&(row(0, 0, 0) + &row(1, 4, 0) + &row(2, 2, 2) + &row(3, 1, 3)));
        let page = page(&[&run]).unwrap();
        assert!(page.contains("5 dropped") && page.contains("Rounds without a quorum"), "{page}");
        assert!(page.contains("the last 2 among them") && page.contains("Clients against round"), "{page}");
        assert!(page.contains("round 3: 1 completed, 3 dropped, missed its quorum of 3"), "{page}");
        assert!(page.contains("25.0% → 25.0%") && page.contains("Accuracy against round"), "{page}");
        let other = dir(&(row(0, 0, 0) + &row(1, 4, 0)));
        let table = written(&[&run, &other], "table.md").unwrap();
        assert!(table.contains("| 25.0% | 5 | 2 |") && table.contains("| 25.0% | 0 | 0 |"), "{table}");
        let csv = written(&[&run, &other], "table.csv").unwrap();
        assert!(csv.lines().nth(1).unwrap().ends_with(",0.25,5,2"), "{csv}");
    }

    #[test]
    fn a_run_that_was_evaluated_before_training_alone_has_no_loss_after_it() {
        let run = dir(&(row(0, "4.4", 0) + &row(1, "null", 900)));
        assert_eq!(Run::read(run.path()).unwrap().losses(), None);
        let page = page(&[&run]).unwrap();
        assert!(page.contains("4.400 → –") && page.contains("nothing was evaluated after a round"), "{page}");
    }

    #[test]
    fn several_runs_are_compared_with_the_one_that_sent_most() {
        let dense = dir(&(row(0, "4.0", 0) + &row(1, "3.5", 100_000) + &row(2, "3.0", 200_000)));
        let sparse =
            dir(&(row(0, "4.0", 0) + &row(1, "3.2", 10_000) + &row(2, "2.9", 20_000) + &row(3, "2.8", 30_000)));
        let page = page(&[&dense, &sparse]).unwrap();
        assert!(page.contains("Comparison") && page.contains("10.0x") && page.contains("120.0%"), "{page}");
        let table = written(&[&dense, &sparse], "table.md").unwrap();
        let rows: Vec<&str> = table.lines().collect();
        assert!(rows.len() == 4 && rows[2].contains("(baseline)") && rows[3].contains("| 120.0% |"), "{table}");
        let csv = written(&[&dense, &sparse], "table.csv").unwrap();
        assert!(csv.lines().nth(2).is_some_and(|row| row.contains(",3,4,2.8,1.2")), "{csv}");
    }

    #[test]
    fn a_corrupt_line_is_an_error_that_names_file_and_line() {
        let run = dir(&(row(0, "4.0", 0) + "{nonsense}\n" + &row(1, "4.0", 1)));
        let error = page(&[&run]).unwrap_err().to_string();
        assert!(error.contains("metrics.jsonl, line 2"), "{error}");
        let missing = tempfile::tempdir().unwrap();
        let error = page(&[&missing]).unwrap_err().to_string();
        assert!(error.contains("metrics.jsonl"), "{error}");
    }

    #[test]
    fn an_unfinished_last_line_of_a_killed_run_is_left_out() {
        let run = dir(&(row(0, "4.0", 0) + &row(1, "3.0", 10)[..40]));
        let run = Run::read(run.path()).unwrap();
        assert_eq!(run.rows.len(), 1);
    }

    #[test]
    fn a_round_that_a_resumed_run_wrote_twice_counts_once() {
        let run = dir(&(row(0, "4.0", 0) + &row(1, "3.9", 10) + &row(1, "3.0", 12)));
        let run = Run::read(run.path()).unwrap();
        assert_eq!(run.rows.len(), 2);
        assert_eq!(run.rows[1].eval_loss, Some(3.0));
    }
}
