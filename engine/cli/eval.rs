//! `cellm eval`: the loss of a model with an adapter. On a data file each record is one sequence; on a run directory without
//! a data file it is the run's own validation data, cut as the run cuts it.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use serde_json::json;

use crate::adapter::peft;
use crate::config::{Config, Loaded};
use crate::data::{self, DataError, Dataset, LeftOut, LongRecords, Sequence, Task, partition, tokenize};
use crate::federation;
use crate::trainer::{EVALUATION_CHUNK, HeadStart, LoraConfig, Model, Trainer, TrainerKind, evaluation_sample};

use super::args::{ConfigSources, Eval, Verbosity};
use super::{Failure, config, output, progress, run};

/// Sequences a forward pass; the loss does not depend on it.
const BATCH: usize = 16;

/// Measures and prints one JSON object.
pub fn eval(arguments: &Eval, verbosity: Verbosity) -> Result<u8, Failure> {
    let started = Instant::now();
    let loaded = match &arguments.run {
        Some(dir) => run::stored(dir, &arguments.sources)?.0,
        None => config::load(&arguments.sources)?,
    };
    let given = |key: &str| is_given(&loaded, arguments.run.as_deref(), key);
    let mut config = loaded.config.clone();
    if let Some(dir) = &arguments.run {
        if config.client.trainer == TrainerKind::Noop {
            return Err(Failure::usage(format!(
                "{} was a run of client.trainer noop: it trained no model",
                dir.display()
            )));
        }
        if !given("lora.init") {
            config.lora.init = Some(dir.join("adapter"));
            // The head that the run left, wherever it had begun.
            config.lora.head = HeadStart::Own;
        }
    }
    let named = config.lora.init.as_ref().map(|folder| peft::read_config(folder)).transpose()?;
    let named = named.is_some_and(|adapter| !adapter.classes.is_empty());
    if let (Some(dir), true, true) = (&arguments.run, given("data.path"), config.data.classes.is_empty() && !named) {
        config.data.classes = run_classes(dir)?;
    }

    progress::fetch(&config.model, verbosity)?;
    let model = Model::load(&config.model)?;
    follow_adapter(&mut config.lora, &model, given)?;
    let Examples { sequences, records, left_out, classes } = if arguments.run.is_some() && !given("data.path") {
        validation(&config, &model)?
    } else {
        let limit = if given("data.max_tokens") { config.data.max_tokens } else { usize::MAX };
        whole(&config, &model, limit)?
    };
    if let Some(warning) = left_out.warning(records) {
        tracing::warn!("{warning}");
    }
    let trainer = Trainer::new(model, &config.lora, classes, config.run.seed)?;
    trainer.left_out().iter().for_each(|note| output::say(&format!("note: {note}")));
    let measured = trainer.evaluate(&trainer.start().0, &sequences, BATCH, &AtomicBool::new(false))?;
    output::print_json(&json!({
        "eval_loss": measured.loss(),
        "eval_metric": measured.accuracy(),
        "metric": federation::metric(&config),
        "perplexity": measured.loss().exp(),
        "tokens": measured.tokens,
        "records": records,
        "left_out": left_out.count(),
        "sequences": sequences.len(),
        "seconds": started.elapsed().as_secs_f64(),
        "model": trainer.model().name(),
        "adapter": config.lora.init,
        "data": config.data.path,
    }))?;
    Ok(0)
}

/// The classes that a run learned, in their order: other data may lack some of them, or have them in another one.
fn run_classes(dir: &Path) -> Result<Vec<String>, Failure> {
    let own = run::stored(dir, &ConfigSources::default())?.0.config.data;
    match own.task {
        Task::Classification => Ok(Dataset::load(&own, None, None)?.classes().to_vec()),
        Task::Text | Task::Instruction => Ok(Vec::new()),
    }
}

/// True where the user of this command set the key; false for defaults and for the run's own config.
fn is_given(loaded: &Loaded, run: Option<&Path>, key: &str) -> bool {
    let own = run.map(|dir| dir.join("config.toml").display().to_string());
    let origin = loaded.origin(key);
    !loaded.is_default(key) && !own.is_some_and(|own| origin.starts_with(&own))
}

/// An adapter folder tells its ranks, scales, targets and residuals itself; a key that was set all the same must agree with it.
fn follow_adapter(lora: &mut LoraConfig, model: &Model, given: impl Fn(&str) -> bool) -> Result<(), Failure> {
    let Some(folder) = &lora.init else { return Ok(()) };
    let adapter = model.resolve_adapter(peft::read_config(folder)?)?;
    if !given("lora.rank") {
        lora.rank = adapter.rank;
    }
    if !given("lora.alpha") {
        lora.alpha = adapter.alpha;
    }
    if !given("lora.rank_pattern") {
        lora.rank_pattern = adapter.rank_pattern;
    }
    if !given("lora.alpha_pattern") {
        lora.alpha_pattern = adapter.alpha_pattern;
    }
    if !given("lora.rslora") {
        lora.rslora = adapter.rslora;
    }
    if !given("lora.targets") {
        lora.targets = adapter.targets;
    }
    if !given("lora.residual") {
        lora.residual = adapter.residual;
    }
    Ok(())
}

/// The examples to evaluate on.
struct Examples {
    sequences: Vec<Sequence>,
    /// Records that they were made of.
    records: usize,
    /// Records of the data that cannot be used.
    left_out: LeftOut,
    /// Classes of the data; 0 where the next token is predicted.
    classes: usize,
}

/// The data with its classes in the order of the head that is measured.
fn order_classes(data: Dataset, config: &Config, model: &Model) -> Result<Dataset, Failure> {
    let (data, note) = model.order_classes(data, &config.data, &config.lora)?;
    note.iter().for_each(|note| output::say(&format!("note: {note}")));
    Ok(data)
}

/// Every record of the data as one sequence, cut at `limit` tokens and at the model's positions.
fn whole(config: &Config, model: &Model, limit: usize) -> Result<Examples, Failure> {
    let data = match &config.data.path {
        Some(path) => Dataset::load_file(path, &config.data, None, Some(model.tokenizer()))?,
        None => Dataset::load(&config.data, None, Some(model.tokenizer()))?,
    };
    let data = order_classes(data, config, model)?;
    let max_tokens = limit.min(model.max_positions());
    let cut = data::Config { max_tokens, long: LongRecords::Truncate, packing: false, ..config.data.clone() };
    let records: Vec<u32> = (0..).take(data.len()).collect();
    let sequences = sequences(&data, &records, model, &cut)?;
    let left_out = data.left_out().clone();
    Ok(Examples { sequences, records: records.len(), left_out, classes: data.classes().len() })
}

/// The validation records of every client of the run, or the run's sample of them.
fn validation(config: &Config, model: &Model) -> Result<Examples, Failure> {
    let data = Dataset::load(&config.data, config.partition.field(), Some(model.tokenizer()))?;
    let data = order_classes(data, config, model)?;
    let split = partition::partition(&data, &config.partition, &config.data, config.run.seed)?;
    let records: Vec<u32> = split.shards.iter().flat_map(|shard| shard.validation.iter().copied()).collect();
    let records = evaluation_sample(&records, config.server.eval_records, config.run.seed);
    let max_tokens = config.data.max_tokens.min(model.max_positions());
    let cut = data::Config { max_tokens, ..config.data.clone() };
    let sequences = sequences(&data, &records, model, &cut)?;
    if sequences.is_empty() {
        let found = config.data.validation.to_string();
        return Err(DataError::Value {
            key: "data.validation",
            found,
            allowed: "large enough to hold records out".into(),
        }
        .into());
    }
    let left_out = data.left_out().clone();
    Ok(Examples { sequences, records: records.len(), left_out, classes: data.classes().len() })
}

/// Made in the parts in which a run makes them: where records are packed, no sequence goes over the end of one.
fn sequences(data: &Dataset, records: &[u32], model: &Model, cut: &data::Config) -> Result<Vec<Sequence>, DataError> {
    let mut sequences = Vec::new();
    for records in records.chunks(EVALUATION_CHUNK) {
        sequences.extend(tokenize(model.tokenizer(), &data.read(records)?, cut)?);
    }
    Ok(sequences)
}
