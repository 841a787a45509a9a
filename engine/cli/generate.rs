//! `cellm generate`: the text that a model puts after a prompt, as it comes.

use std::io::Read;
use std::time::Instant;

use serde_json::json;

use crate::config::Config;
use crate::data::{PromptForm, Task};
use crate::trainer::{Ended, Generated, Generation, Model, Trainer, TrainerError};

use super::adapted_config::AdaptedConfig;
use super::args::{Generate, Verbosity};
use super::{Failure, output, progress};

/// Bytes of a prompt from stdin, at most.
const PROMPT: u64 = 16 << 20;

/// Generates and prints.
pub fn generate(arguments: &Generate, verbosity: Verbosity) -> Result<u8, Failure> {
    let mut adapted = AdaptedConfig::load(&arguments.sources, arguments.run.as_deref())?;
    if let (Some(dir), Task::Classification) = (&arguments.run, adapted.config.data.task) {
        let dir = dir.display();
        return Err(Failure::usage(format!(
            "{dir} was a run of data.task classification: it predicts classes, not text"
        )));
    }
    let text = match arguments.prompt.as_str() {
        "-" => from_stdin()?,
        prompt => prompt.to_owned(),
    };
    progress::fetch(&adapted.config.model, verbosity)?;
    let model = Model::load(&adapted.config.model)?;
    adapted.follow_adapter(&model)?;
    let config = adapted.config;
    let form = form(arguments, &config, &model);
    let prompt = model.tokenizer().prompt(form, &text, arguments.system.as_deref(), &config.data)?;
    let trainer = Trainer::new(model.clone(), &config.lora, 0, config.run.seed)?;
    trainer.left_out().iter().for_each(|note| output::say(&format!("note: {note}")));
    let weights = config.lora.init.as_ref().map(|_| trainer.start().0.as_slice());
    let how = Generation {
        max_tokens: arguments.max_tokens,
        temperature: arguments.temperature,
        top_p: arguments.top_p,
        seed: arguments.seed,
        ends: model.tokenizer().ends().to_vec(),
        threads: config.run.threads_in_use(),
    };
    let timed = write(&trainer, weights, &prompt, &how, verbosity.json)?;
    if verbosity.json {
        return output::print_json(&json!({
            "prompt": text,
            "form": form.name(),
            "text": timed.generated.text,
            "tokens": timed.generated.tokens,
            "ended": timed.generated.ended.name(),
            "prompt_tokens": prompt.len(),
            "prompt_seconds": timed.prompt_seconds,
            "seconds": timed.seconds,
            "tokens_per_second": timed.rate(),
            "model": trainer.model().name(),
            "adapter": config.lora.init,
        }))
        .map(|()| 0);
    }
    output::print("\n")?;
    if verbosity.verbose > 0 {
        let (count, read) = (timed.generated.tokens.len(), prompt.len());
        output::say(&format!(
            "{count} tokens, {:.1} a second, after {read} of the prompt ({})",
            timed.rate(),
            form.name()
        ));
    }
    if timed.generated.ended == Ended::Positions {
        output::say("note: the text ends here because the model has no further position");
    }
    Ok(0)
}

fn from_stdin() -> Result<String, Failure> {
    let mut text = String::new();
    let read = std::io::stdin().take(PROMPT + 1).read_to_string(&mut text);
    read.map_err(|error| Failure::file("read", "stdin".as_ref(), error))?;
    match text.len() as u64 > PROMPT {
        true => Err(Failure::usage(format!("the prompt on stdin is longer than the limit of {PROMPT} bytes"))),
        false => Ok(text),
    }
}

fn form(arguments: &Generate, config: &Config, model: &Model) -> PromptForm {
    let of_data = PromptForm::of(&config.data);
    match (arguments.raw, arguments.chat) {
        (true, _) => PromptForm::Raw,
        (_, true) => PromptForm::Chat,
        _ if arguments.run.is_none() && of_data == PromptForm::Raw && model.tokenizer().has_chat_template() => {
            PromptForm::Chat
        }
        _ => of_data,
    }
}

/// A text with its times.
struct Timed {
    generated: Generated,
    /// Seconds to the first token.
    prompt_seconds: f64,
    /// Seconds of all.
    seconds: f64,
}

impl Timed {
    /// Tokens a second, without the time of the prompt and of the first token, which comes with it.
    fn rate(&self) -> f64 {
        self.generated.tokens.len().saturating_sub(1) as f64
            / (self.seconds - self.prompt_seconds).max(f64::MIN_POSITIVE)
    }
}

/// Writes the text as it comes, unless `quietly`.
fn write(
    trainer: &Trainer,
    weights: Option<&[f32]>,
    prompt: &[u32],
    how: &Generation,
    quietly: bool,
) -> Result<Timed, Failure> {
    let started = Instant::now();
    let (mut prompt_seconds, mut printed) = (None, Ok(()));
    let generated = trainer.generate_text(weights, prompt, how, |piece| {
        prompt_seconds.get_or_insert_with(|| started.elapsed().as_secs_f64());
        if !quietly {
            printed = output::print(piece);
        }
        printed.is_ok()
    });
    let seconds = started.elapsed().as_secs_f64();
    printed?;
    Ok(Timed { generated: generated.map_err(named)?, prompt_seconds: prompt_seconds.unwrap_or(seconds), seconds })
}

/// A setting out of range is one of the command line, not of the config.
fn named(error: TrainerError) -> Failure {
    match &error {
        TrainerError::Setting { key, found, expected } => {
            Failure::usage(format!("--{key} is {found}, it must be {expected}"))
        }
        _ => error.into(),
    }
}
