//! The config of a command that uses a trained adapter: a run directory's, or that of the command line, with what the adapter
//! folder tells itself.

use std::path::{Path, PathBuf};

use crate::adapter::peft;
use crate::config::{Config, Loaded};
use crate::trainer::{HeadStart, Model, TrainerKind};

use super::args::ConfigSources;
use super::{Failure, config, run};

/// A config with its adapter in `lora.init`, where there is one.
pub struct AdaptedConfig {
    loaded: Loaded,
    run: Option<PathBuf>,
    /// The config.
    pub config: Config,
}

impl AdaptedConfig {
    /// The config of a run, with its adapter, under what the command line sets; without a run that of the command line alone.
    pub fn load(sources: &ConfigSources, run: Option<&Path>) -> Result<Self, Failure> {
        let loaded = match run {
            Some(dir) => run::stored(dir, sources)?.0,
            None => config::load(sources)?,
        };
        let config = loaded.config.clone();
        let mut adapted = Self { loaded, run: run.map(Path::to_owned), config };
        let Some(dir) = run else { return Ok(adapted) };
        if adapted.config.client.trainer == TrainerKind::Noop {
            return Err(Failure::usage(format!(
                "{} was a run of client.trainer noop: it trained no model",
                dir.display()
            )));
        }
        if !adapted.given("lora.init") {
            adapted.config.lora.init = Some(dir.join("adapter"));
            // The head that the run left, wherever it had begun.
            adapted.config.lora.head = HeadStart::Own;
        }
        Ok(adapted)
    }

    /// True where the user of this command set the key; false for defaults and for the run's own config.
    pub fn given(&self, key: &str) -> bool {
        let own = self.run.as_ref().map(|dir| dir.join("config.toml").display().to_string());
        let origin = self.loaded.origin(key);
        !self.loaded.is_default(key) && !own.is_some_and(|own| origin.starts_with(&own))
    }

    /// Takes ranks, scales, targets and residuals from the adapter folder; a key that was set all the same must agree with it.
    pub fn follow_adapter(&mut self, model: &Model) -> Result<(), Failure> {
        let Some(folder) = &self.config.lora.init else { return Ok(()) };
        let adapter = model.resolve_adapter(peft::read_config(folder)?)?;
        if !self.given("lora.rank") {
            self.config.lora.rank = adapter.rank;
        }
        if !self.given("lora.alpha") {
            self.config.lora.alpha = adapter.alpha;
        }
        if !self.given("lora.rank_pattern") {
            self.config.lora.rank_pattern = adapter.rank_pattern;
        }
        if !self.given("lora.alpha_pattern") {
            self.config.lora.alpha_pattern = adapter.alpha_pattern;
        }
        if !self.given("lora.rslora") {
            self.config.lora.rslora = adapter.rslora;
        }
        if !self.given("lora.targets") {
            self.config.lora.targets = adapter.targets;
        }
        if !self.given("lora.residual") {
            self.config.lora.residual = adapter.residual;
        }
        Ok(())
    }
}
