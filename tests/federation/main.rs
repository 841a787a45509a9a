//! The promises of a federation, tried on real runs: determinism, crashes, kill -9, interrupts, hostile policies, bad
//! input, memories from round to round, catching up, tiers, classes, pictures, experiments, differential privacy,
//! learning rates by round, byte budgets, evaluation, JSON for programs.

mod again;
mod bad_input;
mod budget;
mod classification;
mod crashes;
mod determinism;
mod durability;
mod evaluation;
mod experiment;
mod flows;
mod hostile;
mod json;
mod masked;
mod memory;
mod pictures;
mod privacy;
mod reload;
mod schedule;
mod starts;
mod support;
