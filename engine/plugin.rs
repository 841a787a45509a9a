//! Policies in the making: a project from a template, a component from a project, checks against the production host, and
//! measurements beside the built-in policies.
//!
//! In: folders and components. Out: files, findings and numbers; nothing here knows of runs.

mod bench;
mod build;
mod c;
mod check;
mod error;
mod external_program;
mod project;
mod python;
mod rust;
mod simulation;
mod synthetic;
mod templates;

pub use bench::{Measurement, Settings, large_layout, measure};
pub use build::{BuiltComponent, build};
pub use check::{Finding, Verdict, check};
pub use error::PluginError;
pub use project::{Created, create, language_of};
pub use templates::{Kind, Language};
