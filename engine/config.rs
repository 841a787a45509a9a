//! The config: every room's section in one struct, read in layers, checked once before anything starts.
//!
//! Layers, each over the ones before it: defaults, files (in the order given), the profile, the environment, the
//! command line. A profile is a set of tables `[profile.NAME.SECTION]` in any of the files; `--profile NAME` lays it over
//! all files. An environment variable `CELLM_SECTION__KEY` sets `section.key`.

mod docs;
mod document;
mod error;
mod federation;
mod idle;
mod keys;
mod layers;
mod parse;
mod range;
mod run;
mod show;
mod synonyms;
mod unknown;
mod validate;

use serde::{Deserialize, Serialize};

use crate::{aggregator, compressor, data, link, metrics, policy, privacy, report, server, trainer};

pub use document::{Document, Table};
pub use error::ConfigError;
pub use federation::Settings;
pub use keys::changes_results;
pub use layers::{Layers, Loaded, Override};
pub use run::RunConfig;
pub use show::{keys_json, keys_text};

/// Every section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The run: name, seed, rounds, place, threads.
    pub run: RunConfig,
    /// The frozen base model.
    pub model: trainer::ModelConfig,
    /// The trained adapter.
    pub lora: trainer::LoraConfig,
    /// The text, and its way to tokens.
    pub data: data::Config,
    /// The owner of each record.
    pub partition: data::partition::Config,
    /// The server's rounds.
    pub server: server::Config,
    /// The work of a sampled client.
    pub client: trainer::LocalConfig,
    /// Compression from the server to the clients.
    pub download: compressor::Config,
    /// Compression from a client to the server.
    pub upload: compressor::Config,
    /// The aggregation of updates.
    pub aggregate: aggregator::Config,
    /// Differential privacy of clients.
    pub privacy: privacy::Config,
    /// The resources that a policy may use.
    pub limits: policy::LimitsConfig,
    /// The policies that may run.
    pub policy: policy::PolicyConfig,
    /// The way between a server and its clients on other machines.
    pub link: link::Config,
    /// The Prometheus endpoint.
    pub metrics: metrics::Config,
    /// The report.
    pub report: report::Config,
}

impl Default for Config {
    /// The demo.
    fn default() -> Self {
        Self {
            run: Default::default(),
            model: Default::default(),
            lora: Default::default(),
            data: Default::default(),
            partition: Default::default(),
            server: Default::default(),
            client: Default::default(),
            download: compressor::Config::of_downloads(),
            upload: compressor::Config::of_uploads(),
            aggregate: Default::default(),
            privacy: Default::default(),
            limits: Default::default(),
            policy: Default::default(),
            link: Default::default(),
            metrics: Default::default(),
            report: Default::default(),
        }
    }
}

impl Config {
    /// Checks every value that can be checked without touching a file.
    ///
    /// # Errors
    /// [`ConfigError::Value`] names the first bad key, what was found and what is allowed.
    pub fn validate(&self) -> Result<(), ConfigError> {
        validate::validate(self)
    }

    /// Checks the sections `data` and `partition` alone.
    ///
    /// # Errors
    /// As [`Self::validate`].
    pub fn validate_data(&self) -> Result<(), ConfigError> {
        validate::validate_data(self)
    }

    /// One sentence for each key that was set and changes nothing, as another key says.
    pub fn idle(&self) -> Vec<String> {
        idle::idle(self)
    }
}
