//! `cellm export` and `cellm report`: what a run directory holds, in another form.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::adapter::{AdapterWeights, peft};
use crate::config::Config;
use crate::data::{Dataset, Task};
use crate::journal::Journal;
use crate::report;
use crate::trainer::{HeadStart, LoraConfig, Model, Trainer, TrainerKind};

use super::args::{AdapterFormat, ConfigSources, Export, Report, Verbosity};
use super::{Failure, output, progress, run};

/// Writes the adapter of a run as a PEFT folder or a GGUF file, or its model with the adapter merged into the weights. Residuals, which PEFT
/// does not know, lie beside the adapter, and are a part of the merged model.
pub fn export(arguments: &Export, verbosity: Verbosity) -> Result<u8, Failure> {
    let gguf = arguments.format == AdapterFormat::Gguf;
    if gguf && arguments.merge {
        return Err(Failure::usage("--format gguf is one of adapters, but --merge writes the whole model"));
    }
    // The adapter's folder alone does not say all that these need of the model.
    let loads = gguf || arguments.merge;
    let from = arguments.run.join("adapter");
    let finished = peft::read_config(&from).ok().map(|config| config.files());
    match finished.filter(|files| files.iter().all(|file| from.join(file).exists())) {
        Some(_) if loads => load_and_write(arguments, Some(from), verbosity)?,
        None if loads => load_and_write(arguments, None, verbosity)?,
        Some(files) => copy(&from, &arguments.to, files)?,
        None => {
            let run = stored(&arguments.run, verbosity)?;
            let (trainer, labels) = run.trainer(None)?;
            let weights = run.weights()?;
            let about = trainer.model().peft_config(&run.config.lora, trainer.layout(), &labels);
            peft::write(&arguments.to, trainer.layout(), &weights, &about)?;
        }
    }
    if !loads && peft::read_config(&arguments.to)?.residual {
        output::say(
            "the adapter has residuals: residual.safetensors is a part of it that PEFT alone does not load (see README.md)",
        );
    }
    let object = || json!({ "to": arguments.to, "run": arguments.run, "merged": arguments.merge, "gguf": gguf });
    output::show(verbosity.json, object, || format!("{}\n", arguments.to.display()))?;
    Ok(0)
}

/// Writes the merged model or the adapter as GGUF, of the adapter folder `from` or of the journal.
fn load_and_write(arguments: &Export, from: Option<PathBuf>, verbosity: Verbosity) -> Result<(), Failure> {
    let run = stored(&arguments.run, verbosity)?;
    let finished = from.is_some();
    let (trainer, labels) = run.trainer(from)?;
    let weights = if finished { trainer.start().clone() } else { run.weights()? };
    match arguments.format {
        AdapterFormat::Gguf => trainer.write_gguf(&weights, &arguments.to)?,
        AdapterFormat::Peft => trainer.write_merged(&run.config.model, &weights, &labels, &arguments.to)?,
    }
    Ok(())
}

fn copy(from: &Path, to: &Path, files: &[&str]) -> Result<(), Failure> {
    std::fs::create_dir_all(to).map_err(|error| Failure::file("make", to, error))?;
    for file in files {
        let (from, to) = (from.join(file), to.join(file));
        // A copy onto itself would empty the file.
        if std::fs::canonicalize(&from).ok() == std::fs::canonicalize(&to).ok() {
            return Err(Failure::usage(format!("--to {} is where the adapter lies already", to.display())));
        }
        std::fs::copy(&from, &to).map_err(|error| Failure::file("write", &to, error))?;
    }
    Ok(())
}

/// A run directory and the config that it was run with.
struct Stored<'a> {
    dir: &'a Path,
    config: Config,
}

/// Reads the config and has the model fetched.
fn stored(dir: &Path, verbosity: Verbosity) -> Result<Stored<'_>, Failure> {
    let (loaded, _) = run::stored(dir, &ConfigSources::default())?;
    let config = loaded.config;
    if config.client.trainer == TrainerKind::Noop {
        return Err(Failure::usage(format!(
            "{} was a run of client.trainer noop: it trained no adapter",
            dir.display()
        )));
    }
    progress::fetch(&config.model, verbosity)?;
    Ok(Stored { dir, config })
}

impl Stored<'_> {
    /// The run's trainer and the names of its classes; its start is that of the folder `init` or, without one, of the run.
    fn trainer(&self, init: Option<PathBuf>) -> Result<(Trainer, Vec<String>), Failure> {
        let lora = match init {
            // The head that the run left, wherever it had begun.
            Some(folder) => LoraConfig { init: Some(folder), head: HeadStart::Own, ..self.config.lora.clone() },
            None => self.config.lora.clone(),
        };
        let model = Model::load(&self.config.model)?;
        let labels = match self.config.data.task {
            Task::Classification => {
                let data = Dataset::load(&self.config.data, None, None)?;
                model.order_classes(data, &self.config.data, &lora)?.0.classes().to_vec()
            }
            Task::Text | Task::Instruction => Vec::new(),
        };
        Ok((Trainer::new(model, &lora, labels.len(), self.config.run.seed)?, labels))
    }

    /// A run that was killed has no adapter folder yet; its journal holds the state after the newest closed round.
    fn weights(&self) -> Result<AdapterWeights, Failure> {
        let (journal, _) = Journal::open(&self.dir.join("journal"))?;
        let Some(closed) = journal.latest()? else {
            return Err(Failure::usage(format!("{} closed no round yet: there is no adapter", self.dir.display())));
        };
        let round = closed.round;
        output::say(&format!(
            "the run has no adapter folder yet: writing the server's dense copy after round {round} from its journal"
        ));
        Ok(AdapterWeights(closed.weights))
    }
}

/// Writes the report and prints where it lies.
pub fn report(arguments: &Report, json: bool) -> Result<u8, Failure> {
    let to = match (&arguments.to, arguments.runs.as_slice()) {
        (Some(to), _) => to.clone(),
        (None, [run]) => run.join("report.html"),
        (None, _) => PathBuf::from("comparison.html"),
    };
    report::write(&arguments.runs, &to, arguments.baseline.as_deref())?;
    output::show(json, || json!({ "report": to, "runs": arguments.runs }), || format!("{}\n", to.display()))?;
    Ok(0)
}
