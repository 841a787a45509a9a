//! `cellm generate`: the text that a model puts after a prompt, as it comes.

use std::io::Read;
use std::time::Instant;

use serde_json::json;

use crate::config::Config;
use crate::data::{PromptForm, Task};
use crate::trainer::{Ended, Generation, Model, Trainer, TrainerError};

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
    };
    let written = write(&trainer, weights, &prompt, &how, verbosity.json)?;
    if verbosity.json {
        return output::print_json(&json!({
            "prompt": text,
            "form": form.name(),
            "text": written.text,
            "tokens": written.tokens,
            "ended": written.ended.name(),
            "prompt_tokens": prompt.len(),
            "prompt_seconds": written.prompt_seconds,
            "seconds": written.seconds,
            "tokens_per_second": written.rate(),
            "model": trainer.model().name(),
            "adapter": config.lora.init,
        }))
        .map(|()| 0);
    }
    output::print("\n")?;
    if verbosity.verbose > 0 {
        let (count, read) = (written.tokens.len(), prompt.len());
        output::say(&format!(
            "{count} tokens, {:.1} a second, after {read} of the prompt ({})",
            written.rate(),
            form.name()
        ));
    }
    if written.ended == Ended::Positions {
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

/// A text with its tokens and times.
struct Written {
    text: String,
    tokens: Vec<u32>,
    ended: Ended,
    /// Seconds to the first token.
    prompt_seconds: f64,
    /// Seconds of all.
    seconds: f64,
}

impl Written {
    /// Tokens a second, without the time of the prompt and of the first token, which comes with it.
    fn rate(&self) -> f64 {
        self.tokens.len().saturating_sub(1) as f64 / (self.seconds - self.prompt_seconds).max(f64::MIN_POSITIVE)
    }
}

/// Writes the text as it comes, unless `quietly`.
fn write(
    trainer: &Trainer,
    weights: Option<&[f32]>,
    prompt: &[u32],
    how: &Generation,
    quietly: bool,
) -> Result<Written, Failure> {
    let started = Instant::now();
    let mut stream = trainer.model().tokenizer().stream(prompt);
    let (mut text, mut tokens, mut prompt_seconds, mut failed) = (String::new(), Vec::new(), None, None);
    let mut receive = |token: u32| -> Result<(), Failure> {
        prompt_seconds.get_or_insert_with(|| started.elapsed().as_secs_f64());
        tokens.push(token);
        let piece = stream.push(token)?;
        if !quietly {
            output::print(&piece)?;
        }
        text.push_str(&piece);
        Ok(())
    };
    let ended = trainer.generate(weights, prompt, how, |token| {
        failed = receive(token).err();
        failed.is_none()
    });
    let seconds = started.elapsed().as_secs_f64();
    if let Some(failure) = failed {
        return Err(failure);
    }
    let ended = ended.map_err(named)?;
    let rest = stream.finish()?;
    if !quietly {
        output::print(&rest)?;
    }
    text.push_str(&rest);
    Ok(Written { text, tokens, ended, prompt_seconds: prompt_seconds.unwrap_or(seconds), seconds })
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
