//! The completions at the end of a run, with the adapter of its beginning and of its end.

use super::plan::Plan;
use crate::data::{Goal, PromptForm, Sequence};
use crate::report::Completion;
use crate::trainer::{Generation, TrainerError, TrainerKind};

/// Tokens of a held-out text that are its prompt, at most; and at most half of it.
const PROMPT_TOKENS: usize = 24;

/// The completions of `report.prompts`, or of a held-out record; none where classes are learned or nothing is trained.
///
/// # Errors
/// [`TrainerError`] where a prompt cannot be read by the model, or a record by the tokenizer.
pub(super) fn completions(plan: &Plan, adapter: &[f32]) -> Result<Vec<Completion>, TrainerError> {
    let (config, trainer) = (&plan.config, plan.shards.trainer());
    if config.report.completion_tokens == 0
        || config.client.trainer == TrainerKind::Noop
        || trainer.classes() > 0
        || plan.model.reads_pictures()
    {
        return Ok(Vec::new());
    }
    let tokenizer = plan.model.tokenizer();
    let greedy = Generation {
        max_tokens: config.report.completion_tokens,
        temperature: 0.0,
        top_p: 1.0,
        seed: 0,
        ends: tokenizer.ends().to_vec(),
        threads: plan.threads,
    };
    let complete = |prompt: &[u32], text: String| -> Result<Completion, TrainerError> {
        let complete = |weights| trainer.generate_text(Some(weights), prompt, &greedy, |_| true);
        Ok(Completion { prompt: text, before: complete(&plan.initial)?.text, after: complete(adapter)?.text })
    };
    if config.report.prompts.is_empty() {
        let Some(prompt) = held_out(plan)? else { return Ok(Vec::new()) };
        return Ok(vec![complete(&prompt, tokenizer.decode(&prompt)?)?]);
    }
    let form = PromptForm::of(&config.data);
    let prompts = config.report.prompts.iter();
    prompts.map(|text| complete(&tokenizer.prompt(form, text, None, &config.data)?, text.clone())).collect()
}

/// The beginning of the first held-out record, or of a training record where none is held out: all before its answer, or
/// some tokens of a text.
fn held_out(plan: &Plan) -> Result<Option<Vec<u32>>, TrainerError> {
    let sequences = match plan.shards.validation_chunks() {
        0 => plan.shards.train(0)?,
        _ => plan.shards.validation(0)?,
    };
    let begin = |sequence: &Sequence| {
        let answer = match &sequence.goal {
            Goal::Spans(spans) => spans.first().map_or(0, |span| span.start),
            Goal::From(from) => *from,
            Goal::Class(_) => 0,
        };
        let count = if answer > 1 { answer } else { PROMPT_TOKENS.min(sequence.tokens.len() / 2) };
        sequence.tokens[..count].to_vec()
    };
    Ok(sequences.first().map(begin).filter(|prompt| !prompt.is_empty()))
}
