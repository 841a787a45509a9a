//! What a federation promises, tried on real runs: determinism, crashes, kill -9, interrupts, hostile policies, bad input.

mod bad_input;
mod crashes;
mod determinism;
mod durability;
mod hostile;
mod reload;
mod support;
