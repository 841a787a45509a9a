//! The parts that the server's tasks work with.

use std::sync::Arc;

use crate::compressor::Compressors;
use crate::journal::Journal;
use crate::link::Clients;
use crate::roster::Roster;
use crate::trainer::Trainers;

/// The parts that the server's tasks work with; clones share them.
#[derive(Clone)]
pub struct Parts {
    /// The clients.
    pub clients: Arc<dyn Clients>,
    /// Their names.
    pub roster: Arc<Roster>,
    /// The compressor pool.
    pub compressors: Compressors,
    /// The trainer pool, for evaluations.
    pub trainers: Trainers,
    /// The journal; only read through this.
    pub journal: Arc<Journal>,
}
