//! The arithmetic of a comparison: gain, bytes to target, ratios, and their mean and spread over seeds.

use super::{Comparison, Method, Setting};
use crate::report::EvaluationMetric;
use crate::report::run::{Kinds, Row, Run};

/// Mean and spread of a number over seeds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// Arithmetic mean.
    pub mean: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// Number of values.
    pub count: usize,
}

impl Spread {
    /// Of at least one number.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let values: Vec<f64> = values.into_iter().collect();
        let count = values.len();
        (count > 0).then(|| Self {
            mean: values.iter().sum::<f64>() / count as f64,
            min: values.iter().copied().fold(f64::INFINITY, f64::min),
            max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            count,
        })
    }
}

/// The references of one seed's runs: the baseline's run and the target that follows from it.
#[derive(Debug, Clone, Copy)]
pub struct SeedReferences<'a> {
    /// The baseline's run of the same seed.
    pub baseline: &'a Run,
    /// The value of the evaluation metric that counts as the target; none where the target method has no run of the seed.
    pub target: Option<f64>,
}

/// One method's results in a setting: mean and spread over its reported seeds.
#[derive(Debug, Clone, PartialEq)]
pub struct MethodStatistics {
    /// Seeds with a finished run.
    pub seeds: usize,
    /// Evaluation metric at the end.
    pub end: Option<Spread>,
    /// Gain of the evaluation metric, as a share of the baseline's gain by the same round.
    pub gain_share: Option<Spread>,
    /// Bytes of both directions, all rounds.
    pub bytes: Option<Spread>,
    /// Bytes down.
    pub down: Option<Spread>,
    /// Bytes up.
    pub up: Option<Spread>,
    /// Mean bytes of both directions by what they carried.
    pub kinds: Kinds,
    /// Bytes of the baseline over bytes of the method, at the last round of both.
    pub byte_reduction: Option<Spread>,
    /// Bytes until the target, over the seeds that reached it.
    pub to_target: Option<Spread>,
    /// The baseline's bytes to the target over the method's; only where every seed of both reached it.
    pub byte_reduction_to_target: Option<Spread>,
    /// Share of the CPU time that neither trained nor evaluated.
    pub overhead: Option<Spread>,
    /// Seconds of all rounds.
    pub seconds: Option<Spread>,
}

/// The references for runs of one seed; none where the baseline has no run of that seed.
pub fn seed_references<'a>(comparison: &Comparison, setting: &'a Setting, seed: u64) -> Option<SeedReferences<'a>> {
    let baseline = setting.method(&comparison.baseline)?.of_seed(seed)?;
    let of = setting.method(&comparison.target_of).and_then(|method| method.of_seed(seed));
    let ends = of.and_then(|run| comparison.metric.first_and_last(run));
    let target = ends.map(|(before, after)| before + comparison.target_gain * (after - before));
    Some(SeedReferences { baseline, target })
}

/// The first evaluated row at or beyond the target. Nothing is interpolated: a run that was evaluated late pays for it.
pub fn first_row_at_target(run: &Run, target: f64, metric: EvaluationMetric) -> Option<&Row> {
    run.rows.iter().find(|row| metric.value(row).is_some_and(|found| !metric.is_better(target, found)))
}

/// Gain of a run's evaluation metric as a share of the baseline's, at the last round at which both were evaluated.
pub fn gain_share(run: &Run, baseline: &Run, metric: EvaluationMetric) -> Option<f64> {
    let evaluated =
        |run: &Run, round: u32| run.rows.iter().find(|row| row.round == round).and_then(|row| metric.value(row));
    let (before, base_before) = (metric.first_and_last(run)?.0, metric.first_and_last(baseline)?.0);
    let common = |row: &&Row| metric.value(row).is_some() && evaluated(baseline, row.round).is_some();
    let last = run.rows.iter().rev().find(common)?.round;
    let gained = evaluated(baseline, last)? - base_before;
    (gained != 0.0).then(|| evaluated(run, last).map(|end| (end - before) / gained))?
}

/// Bytes of the baseline over bytes of the run, at the last round that both closed.
pub fn byte_reduction(run: &Run, baseline: &Run) -> Option<f64> {
    let of_round = |round: u32| baseline.rows.iter().find(|row| row.round == round);
    let row = run.rows.iter().rev().find(|row| row.round > 0 && of_round(row.round).is_some())?;
    Some(of_round(row.round)?.bytes_total as f64 / row.bytes_total as f64)
}

/// Bytes of both directions by what they carried, at the end.
pub fn kinds(run: &Run) -> Kinds {
    let (down, up) = run.last().map(|row| (row.down, row.up)).unwrap_or_default();
    down + up
}

/// The results of a method in a setting.
pub fn method_statistics(comparison: &Comparison, setting: &Setting, method: &Method) -> MethodStatistics {
    let metric = comparison.metric;
    let runs: Vec<(Option<SeedReferences<'_>>, &Run)> =
        method.reported().map(|seeded| (seed_references(comparison, setting, seeded.seed), &seeded.run)).collect();
    let each = |of: &dyn Fn(&Run) -> Option<f64>| Spread::of(runs.iter().filter_map(|(_, run)| of(run)));
    let against = |of: &dyn Fn(&Run, SeedReferences<'_>) -> Option<f64>| {
        Spread::of(runs.iter().filter_map(|(references, run)| of(run, (*references)?)))
    };
    let to_target = |run: &Run, references: SeedReferences<'_>| {
        first_row_at_target(run, references.target?, metric)
            .map(|row| row.bytes_total as f64)
            .filter(|bytes| *bytes > 0.0)
    };
    let ratio = |run: &Run, references: SeedReferences<'_>| {
        Some(to_target(references.baseline, references)? / to_target(run, references)?)
    };
    let overhead = |run: &Run| run.summary.as_ref()?.timing.overhead;
    MethodStatistics {
        seeds: runs.len(),
        end: each(&|run| metric.first_and_last(run).map(|ends| ends.1)),
        gain_share: against(&|run, references| gain_share(run, references.baseline, metric)),
        bytes: each(&|run| run.last().map(|row| row.bytes_total as f64)),
        down: each(&|run| run.last().map(|row| row.bytes_down as f64)),
        up: each(&|run| run.last().map(|row| row.bytes_up as f64)),
        kinds: mean_kinds(runs.iter().map(|(_, run)| kinds(run))),
        byte_reduction: against(&|run, references| byte_reduction(run, references.baseline)),
        to_target: against(&to_target),
        byte_reduction_to_target: against(&ratio).filter(|spread| spread.count == runs.len()),
        overhead: each(&overhead),
        seconds: each(&|run| Some(run.rows.iter().map(|row| row.seconds).sum())),
    }
}

fn mean_kinds(all: impl Iterator<Item = Kinds>) -> Kinds {
    let (count, sum) = all.fold((0_u32, Kinds::default()), |(count, sum), kinds| (count + 1, sum + kinds));
    let mean = |sum: u64| (sum as f64 / f64::from(count.max(1))).round() as u64;
    Kinds {
        frames: mean(sum.frames),
        indices: mean(sum.indices),
        values: mean(sum.values),
        other: mean(sum.other),
        framing: mean(sum.framing),
        catch_up: mean(sum.catch_up),
        control: mean(sum.control),
    }
}
