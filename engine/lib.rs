//! `cellm`: communication-efficient federated fine-tuning of language models.
//!
//! The rooms, in the order in which data flows through them (ARCHITECTURE.md has the map and the rules):
//! a `config` builds a `federation`; its `server` samples a cohort and hands work over a `link` to each
//! `client`; `compressor`s and the `aggregator` run `policy` components; the `trainer` trains on `data`;
//! the `journal` makes it durable; `wire` frames carry the `adapter`.

#![warn(clippy::missing_errors_doc)]

// The blank lines keep rustfmt from sorting the reading order away.
pub mod cli;

pub mod experiment;

pub mod federation;

pub mod config;

pub mod report;

pub mod plugin;

pub mod server;

pub mod client;

pub mod link;

pub mod aggregator;

pub mod compressor;

pub mod policy;

pub mod trainer;

pub mod data;

pub mod journal;

pub mod wire;

pub mod roster;

pub mod adapter;

pub mod metrics;

pub mod pool;

pub mod privacy;

pub mod random;
