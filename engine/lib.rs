//! `cellm`: communication-efficient federated fine-tuning of language models.
//!
//! The rooms, in the order in which data flows through them (ARCHITECTURE.md has the map and the rules):
//! a `config` builds a `federation`; its `server` samples a cohort and hands work over a `link` to each
//! `client`; `compressor`s and the `aggregator` run `policy` components; the `trainer` trains on `data`;
//! the `journal` makes it durable; `wire` frames carry the `adapter`.

pub mod adapter;
pub mod aggregator;
pub mod cli;
pub mod compressor;
pub mod config;
pub mod data;
pub mod federation;
pub mod journal;
pub mod metrics;
pub mod policy;
pub mod random;
pub mod report;
pub mod server;
pub mod trainer;
pub mod wire;
