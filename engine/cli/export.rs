//! `cellm export` and `cellm report`: what a run directory holds, in another form.

use std::path::{Path, PathBuf};

use crate::adapter::{AdapterWeights, peft};
use crate::journal::Journal;
use crate::report;
use crate::trainer::{Model, Trainer, TrainerKind};

use super::args::{Export, Report, Sources};
use super::{Failure, output, run};

/// Writes the adapter of a run as a PEFT folder. Residuals, which PEFT does not know, lie beside it.
pub fn export(arguments: &Export) -> Result<u8, Failure> {
    let from = arguments.run.join("adapter");
    let finished = peft::read_config(&from).ok().map(|config| config.files());
    match finished.filter(|files| files.iter().all(|file| from.join(file).exists())) {
        Some(files) => copy(&from, &arguments.to, files)?,
        None => from_journal(&arguments.run, &arguments.to)?,
    }
    if peft::read_config(&arguments.to)?.residual {
        eprintln!(
            "the adapter has residuals: residual.safetensors is a part of it that PEFT alone does not load (see README.md)"
        );
    }
    output::print(&format!("{}\n", arguments.to.display()))?;
    Ok(0)
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

/// A run that was killed has no adapter folder yet; its journal holds the state after the newest closed round.
fn from_journal(run_dir: &Path, to: &Path) -> Result<(), Failure> {
    let (loaded, _) = run::stored(run_dir, &Sources::default())?;
    let config = loaded.config;
    if config.client.trainer == TrainerKind::Noop {
        return Err(Failure::usage(format!(
            "{} was a run of client.trainer noop: it trained no adapter",
            run_dir.display()
        )));
    }
    let (journal, _) = Journal::open(&run_dir.join("journal"))?;
    let Some(closed) = journal.latest()? else {
        return Err(Failure::usage(format!("{} closed no round yet: there is no adapter", run_dir.display())));
    };
    let model = Model::load(&config.model)?;
    let trainer = Trainer::new(model, &config.lora, config.run.seed)?;
    let about = config.lora.peft(trainer.model().name());
    let round = closed.round;
    eprintln!(
        "the run has no adapter folder yet: writing the server's dense copy after round {round} from its journal"
    );
    Ok(peft::write(to, trainer.layout(), &AdapterWeights(closed.weights), &about)?)
}

/// Writes the report and prints where it lies.
pub fn report(arguments: &Report) -> Result<u8, Failure> {
    let to = match (&arguments.to, arguments.runs.as_slice()) {
        (Some(to), _) => to.clone(),
        (None, [run]) => run.join("report.html"),
        (None, _) => PathBuf::from("comparison.html"),
    };
    report::write(&arguments.runs, &to)?;
    output::print(&format!("{}\n", to.display()))?;
    Ok(0)
}
