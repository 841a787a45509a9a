//! Errors of models, adapters and local training; every message names the part at fault and both values, found and
//! expected.

use std::path::PathBuf;

use crate::adapter::peft::{PatternError, PeftError};
use crate::data::DataError;

/// An error of the trainer room.
#[derive(Debug, thiserror::Error)]
pub enum TrainerError {
    /// A model file that cannot be read.
    #[error("cannot read model file {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// A file of a merged model that cannot be written.
    #[error("cannot write model file {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// An adapter that cannot be a GGUF file.
    #[error("GGUF adapter {}: {reason}", path.display())]
    GgufAdapter {
        /// The file that would have been written.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// A merged model that would overwrite its own base.
    #[error("{} is the base model's own folder", folder.display())]
    OntoBase {
        /// The folder.
        folder: PathBuf,
    },
    /// A file of a model's folder that is not what it should be, or is missing where another lies.
    #[error("model file {}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The problem, and what would be right.
        reason: String,
    },
    /// A path that is no folder and no name on the hub.
    #[error("model.path {}: {reason}", path.display())]
    Folder {
        /// The configured path.
        path: PathBuf,
        /// The problem, and what would be right.
        reason: String,
    },
    /// A model that is neither a folder nor to be had from the hub.
    #[error("model.path {}: there is no such folder, and it could not be had as a model of the hub: {reason}", path.display())]
    Hub {
        /// The configured path.
        path: PathBuf,
        /// The answers of the cache and of the hub.
        reason: String,
    },
    /// A config.json that is no JSON, or lacks a key.
    #[error("model config {file}: {reason}")]
    Config {
        /// The file.
        file: String,
        /// The reason.
        reason: String,
    },
    /// A config.json of a family that this engine does not support.
    #[error("model config {file}: the architecture {found} is not supported; {supported} are")]
    Family {
        /// The file.
        file: String,
        /// Its `model_type`.
        found: String,
        /// The supported families.
        supported: String,
    },
    /// A config.json with a value that this engine does not support.
    #[error("model config {file}: {key} is {found}, but only {supported} is supported")]
    Unsupported {
        /// The file.
        file: String,
        /// The key.
        key: String,
        /// Its value.
        found: String,
        /// The supported values.
        supported: String,
    },
    /// A file that is not safetensors, or is cut off.
    #[error("model weights {file}: not a readable safetensors file: {reason}")]
    Weights {
        /// The file.
        file: String,
        /// The reason.
        reason: String,
    },
    /// A model.safetensors.index.json that cannot be used.
    #[error("model weights {file}: {reason}")]
    Index {
        /// The file.
        file: String,
        /// The reason.
        reason: String,
    },
    /// A shard that the index names and that cannot be opened.
    #[error("model weights {file}: shard {shard}: {source}")]
    MissingShard {
        /// The index.
        file: String,
        /// The shard.
        shard: String,
        /// The reason.
        source: std::io::Error,
    },
    /// A tensor that the index names and its shard lacks.
    #[error("model weights {file}: tensor {tensor} should lie in {shard}, which does not have it")]
    NotInShard {
        /// The index.
        file: String,
        /// The tensor.
        tensor: String,
        /// The shard.
        shard: String,
    },
    /// A tensor that the model needs and the file lacks.
    #[error("model weights {file}: tensor {tensor} is missing")]
    MissingTensor {
        /// The file.
        file: String,
        /// The tensor.
        tensor: String,
    },
    /// A pooler that a head for classes reads and the file lacks.
    #[error(
        "model weights {file}: tensor {tensor} is missing, which the head for classes reads: a checkpoint that was saved without its \
             pooler, as of masked language modelling alone, would begin with a random one in transformers"
    )]
    NoPooler {
        /// The file.
        file: String,
        /// The tensor.
        tensor: String,
    },
    /// An encoder that is to predict the next token.
    #[error(
        "the model {model} is an encoder ({family}), whose positions attend to those behind them, so it predicts no next token: \
             data.task = \"classification\" is what it can learn"
    )]
    Encoder {
        /// The model.
        model: String,
        /// Its family.
        family: &'static str,
    },
    /// A tensor of another shape than config.json says.
    #[error("model weights {file}: tensor {tensor} has shape {found:?}, but config.json makes it {expected:?}")]
    TensorShape {
        /// The file.
        file: String,
        /// The tensor.
        tensor: String,
        /// The shape by config.json.
        expected: Vec<usize>,
        /// The shape in the file.
        found: Vec<usize>,
    },
    /// A tensor of a type that is not read.
    #[error(
        "model weights {file}: tensor {tensor} has type {found}, but only F32, F16 and BF16 are read: save the model in one of these, as \
             transformers does with from_pretrained(..., dtype=torch.bfloat16), .dequantize() where it is quantized, and \
             save_pretrained"
    )]
    TensorType {
        /// The file.
        file: String,
        /// The tensor.
        tensor: String,
        /// Its type.
        found: String,
    },
    /// A tokenizer that knows more tokens than the model has embeddings.
    #[error("tokenizer {tokenizer} has {tokens} tokens, but the model {model} has {embeddings} embeddings")]
    Vocabulary {
        /// The tokenizer.
        tokenizer: String,
        /// Its vocabulary's size.
        tokens: usize,
        /// The model.
        model: String,
        /// Rows of its embedding.
        embeddings: usize,
    },
    /// Labels that the head of a model or adapter does not have, or a head that is no classifier.
    #[error("{of}: {reason}; lora.head = \"zero\" begins with another head")]
    Classes {
        /// The model or the adapter.
        of: String,
        /// The mismatch, with both lists.
        reason: String,
    },
    /// An adapter that replaces a weight of the base model.
    #[error("adapter {}: {tensor} takes the place of the base model's own weight and differs from it: only a head for classes \
             is trained whole", folder.display())]
    Replaces {
        /// The folder.
        folder: PathBuf,
        /// The tensor.
        tensor: String,
    },
    /// A rank whose adapter would be out of proportion to the model.
    #[error(
        "{key} makes the adapter {values} values long, but at most {limit} fit: four times the layers that it is for"
    )]
    AdapterSize {
        /// The config key.
        key: &'static str,
        /// The adapter's number of values.
        values: u64,
        /// The largest number of values.
        limit: u64,
    },
    /// A target module that cannot have a pair.
    #[error("{of} names {path}, which cannot have a pair here: {known} can")]
    NoPair {
        /// The config key or file that names it.
        of: String,
        /// The module.
        path: String,
        /// The modules that can.
        known: String,
    },
    /// A weight that is NaN or infinite.
    #[error("model weights {file}: tensor {tensor} has {value} at value {at}")]
    NotANumber {
        /// The file.
        file: String,
        /// The tensor.
        tensor: String,
        /// The value's index in the tensor, from 0.
        at: usize,
        /// The value.
        value: f32,
    },
    /// A device that cannot be used.
    #[error("model.device {device}: {reason}")]
    Device {
        /// The configured device.
        device: String,
        /// The reason.
        reason: String,
    },
    /// A regular expression in `lora.targets` or one of the patterns that cannot be used.
    #[error("section lora: {0}")]
    Pattern(#[from] PatternError),
    /// A target module that the model does not have, or a pattern that matches none.
    #[error("section lora names {target}, but the model's linear layers are {known}")]
    UnknownTarget {
        /// The target.
        target: String,
        /// The model's modules.
        known: String,
    },
    /// A setting outside its range.
    #[error("{key} is {found}, but must be {expected}")]
    Setting {
        /// The config key.
        key: &'static str,
        /// Its value.
        found: String,
        /// The range.
        expected: &'static str,
    },
    /// Adapter values of another length than the layout says.
    #[error("the adapter has {found} values, but its layout has {expected}")]
    Values {
        /// Number of values of the layout.
        expected: usize,
        /// Number of values given.
        found: usize,
    },
    /// Trainable coordinates that do not increase.
    #[error("trainable coordinate number {number} is {found}, but must be above {before}, the one before it")]
    TrainableOrder {
        /// Its index in the list, from 0.
        number: usize,
        /// The one before it.
        before: u32,
        /// The coordinate.
        found: u32,
    },
    /// A trainable coordinate that the adapter does not have.
    #[error("trainable coordinate {found} is not below the adapter's {expected} values")]
    TrainableRange {
        /// Number of values of the layout.
        expected: usize,
        /// The coordinate.
        found: u32,
    },
    /// A sequence longer than the model's positions.
    #[error("a sequence has {tokens} tokens, but the model has {positions} positions")]
    TooLong {
        /// Its length.
        tokens: usize,
        /// The model's limit.
        positions: usize,
    },
    /// A token without an embedding.
    #[error("a sequence has token {token}, but the model has {embeddings} embeddings")]
    Token {
        /// The token.
        token: u32,
        /// Rows of the embedding.
        embeddings: usize,
    },
    /// A class without a row in the classifier head.
    #[error("a sequence has class {class}, but the head has {classes} classes")]
    Class {
        /// The class.
        class: u32,
        /// Rows of the classifier head; 0 where the model has a language head alone.
        classes: usize,
    },
    /// A sequence without a class, for a classifier head.
    #[error("a sequence has no class, but the head has {classes} classes")]
    NoClass {
        /// Rows of the head.
        classes: usize,
    },
    /// A picture for a model that reads tokens, or the other way round.
    #[error(
        "a sequence {}",
        if *picture { "is a picture, but the model reads tokens" } else { "has tokens, but the model reads pictures" }
    )]
    Input {
        /// True where the sequence is an image.
        picture: bool,
    },
    /// An image whose shape the model does not read.
    #[error("a picture has the shape {found:?} and {values} values, but the model reads {channels} channels")]
    Picture {
        /// Channels, height and width.
        found: [usize; 3],
        /// Number of its values.
        values: usize,
        /// The model's channels.
        channels: usize,
    },
    /// Nothing to train or evaluate on.
    #[error("there is nothing to predict in the {sequences} sequences given")]
    NothingToPredict {
        /// Number of sequences given.
        sequences: usize,
    },
    /// Text asked of a model that predicts no next token.
    #[error("no text can be generated: {}", no_next_token(family, *classes))]
    NoGeneration {
        /// The family's name.
        family: &'static str,
        /// Classes of the adapter's head; 0 where it has none.
        classes: usize,
    },
    /// A logit that is NaN or infinite.
    #[error("a logit of generated token {token} is {value}")]
    Logit {
        /// The token, from 0.
        token: usize,
        /// NaN or an infinity.
        value: f32,
    },
    /// A loss or gradient norm that is NaN or infinite.
    #[error("{what} is {value} in step {step} of the local training")]
    NotFinite {
        /// The loss, or the gradient norm.
        what: &'static str,
        /// The step, from 0.
        step: u32,
        /// NaN or an infinity.
        value: f64,
    },
    /// The caller cancelled the work.
    #[error("cancelled in step {step}")]
    Cancelled {
        /// The step or batch before which it stopped.
        step: u32,
    },
    /// The device failed to compute.
    #[error("the device failed: {0}")]
    Compute(String),
    /// The tokenizer.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The adapter of `lora.init`.
    #[error(transparent)]
    Peft(#[from] PeftError),
}

fn no_next_token(family: &str, classes: usize) -> String {
    match classes {
        0 => format!("a {family} model reads in both directions and predicts no next token"),
        classes => format!("the adapter tells {classes} classes apart and predicts no next token"),
    }
}
