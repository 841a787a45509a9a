//! Experiments: one file that describes a grid of runs in, every cell an ordinary run directory, one report over them all
//! out.
//!
//! A [`Grid`] is the file with every config checked. [`run`] runs its cells: first each method's sweep over learning rates
//! (or whatever its `sweep` names), then the best point of each on all seeds. A cell that is finished is not run again.

mod cell;
mod error;
mod estimate;
mod file;
mod grid;
mod results;
mod run;
mod sweep_winner;

pub use cell::{Cell, Failed};
pub use error::ExperimentError;
pub use estimate::{Estimate, Pace, estimate};
pub use file::{Cohort, Experiment, Method, Target};
pub use grid::{Grid, Point, Setting, Study};
pub use run::{Event, Options, Outcome, run};
