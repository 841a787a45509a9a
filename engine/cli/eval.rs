//! `cellm eval`: the loss of a model with an adapter. On a data file each record is one sequence; on a run directory without
//! a data file it is the run's own validation data, cut as the run cuts it.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use serde_json::json;

use crate::adapter::peft;
use crate::config::Config;
use crate::data::{self, DataError, Dataset, LeftOut, LongRecords, Sequence, Task, partition, tokenize};
use crate::federation;
use crate::trainer::{EVALUATION_CHUNK, Model, Trainer, evaluation_sample};

use super::adapted_config::AdaptedConfig;
use super::args::{ConfigSources, Eval, Verbosity};
use super::{Failure, output, progress, run};

/// Sequences a forward pass; the loss does not depend on it.
const BATCH: usize = 16;

/// Measures and prints one JSON object.
pub fn eval(arguments: &Eval, verbosity: Verbosity) -> Result<u8, Failure> {
    let started = Instant::now();
    let mut adapted = AdaptedConfig::load(&arguments.sources, arguments.run.as_deref())?;
    let config = &mut adapted.config;
    let named = config.lora.init.as_ref().map(|folder| peft::read_config(folder)).transpose()?;
    let named = named.is_some_and(|adapter| !adapter.classes.is_empty());
    let unnamed = config.data.classes.is_empty() && !named;
    if let (Some(dir), true, true) = (&arguments.run, adapted.given("data.path"), unnamed) {
        adapted.config.data.classes = run_classes(dir)?;
    }

    progress::fetch(&adapted.config.model, verbosity)?;
    let model = Model::load(&adapted.config.model)?;
    adapted.follow_adapter(&model)?;
    let config = &adapted.config;
    let Examples { sequences, records, left_out, classes } = if arguments.run.is_some() && !adapted.given("data.path") {
        validation(config, &model)?
    } else {
        let limit = if adapted.given("data.max_tokens") { config.data.max_tokens } else { usize::MAX };
        whole(config, &model, limit)?
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
        "metric": federation::metric(config),
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
