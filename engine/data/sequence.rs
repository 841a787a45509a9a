//! Sequences: records in; token ids with the positions that are predicted out.

use std::ops::Range;
use std::sync::Arc;

use super::{Config, Content, DataError, Image, LongRecords, Record, Task, Tokenizer};

/// One training or evaluation example.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequence {
    /// Token ids, at most `data.max_tokens`, and at least 2 in next-token prediction; none of an image.
    pub tokens: Vec<u32>,
    /// Its target.
    pub goal: Goal,
    /// The picture, where the record is one.
    pub image: Option<Arc<Image>>,
}

/// The target of a sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Goal {
    /// Next-token prediction from this position on; 0 and 1 mean everything (position 0 is never predicted).
    From(usize),
    /// Next-token prediction at these positions (sorted, disjoint): the answers of a conversation.
    Spans(Vec<Range<usize>>),
    /// The class of the whole sequence.
    Class(u32),
}

impl Sequence {
    /// Positions whose tokens are predicted, ascending; none in classification.
    pub fn predicted(&self) -> impl Iterator<Item = usize> + '_ {
        let count = self.tokens.len();
        let (from, spans): (_, &[Range<usize>]) = match &self.goal {
            Goal::From(first) => (*first..count, &[]),
            Goal::Spans(spans) => (0..0, spans),
            Goal::Class(_) => (0..0, &[]),
        };
        std::iter::once(from).chain(spans.iter().cloned()).flat_map(move |span| span.start.max(1)..span.end.min(count))
    }

    /// True where it has a target: a token to predict, or a class.
    pub fn teaches(&self) -> bool {
        match self.goal {
            Goal::Class(_) => !self.tokens.is_empty() || self.image.is_some(),
            _ => self.predicted().next().is_some(),
        }
    }
}

/// Makes sequences of records, in their order, by the keys `task`, `max_tokens`, `long` and `packing` of `config`.
///
/// A text longer than `max_tokens` is split into consecutive windows without overlap, truncated or left out, as `long`
/// says. One with an answer or a class is never split but truncated; one with a class keeps the special tokens at its
/// end, as in `transformers`. A sequence without a target is left out. Without `packing` a sequence never has tokens of
/// two records.
///
/// # Errors
/// [`DataError::Tokenizer`] where a text cannot be encoded or a chat template fails.
pub fn tokenize<'a>(
    tokenizer: &Tokenizer,
    records: impl IntoIterator<Item = &'a Record>,
    config: &Config,
) -> Result<Vec<Sequence>, DataError> {
    let most = config.max_tokens.max(2);
    let mut sequences = Vec::new();
    let mut packed = Vec::new();
    for record in records {
        let windows_of_it = config.long == LongRecords::Split && !learns_a_part(record, config.task);
        let (mut sequence, kept) =
            sequence(tokenizer, record, config.task, if windows_of_it { usize::MAX } else { most })?;
        if sequence.tokens.len() > most && !windows_of_it {
            if config.long == LongRecords::Drop {
                continue;
            }
            truncate(&mut sequence.tokens, most, kept);
        }
        match config.packing {
            true => packed.append(&mut sequence.tokens),
            false if windows_of_it => windows(&mut sequences, &sequence.tokens, most),
            false => sequences.extend(Some(sequence).filter(Sequence::teaches)),
        }
    }
    windows(&mut sequences, &packed, most);
    Ok(sequences)
}

/// True where a record is truncated and never split: one with an answer or a class.
fn learns_a_part(record: &Record, task: Task) -> bool {
    match &record.content {
        Content::Image(_) => true,
        Content::Text { answer: None, .. } => record.class.is_some(),
        Content::Text { .. } | Content::Chat(_) => task == Task::Instruction,
    }
}

/// The reason for which a record's text has no target; none where it has one. The outer error is the tokenizer's. Costs
/// a rendering of a conversation; of other text nothing, unless the tokenizer has texts that it cannot encode.
///
/// # Errors
/// [`DataError::Tokenizer`] where it has no chat template, or one that does not parse.
pub(super) fn check(
    tokenizer: &Tokenizer,
    content: &Content,
    config: &Config,
) -> Result<Result<(), String>, DataError> {
    let rendered;
    let text = match content {
        Content::Image(_) => return Ok(Ok(())),
        Content::Text { text, .. } => text,
        Content::Chat(conversation) => match tokenizer.render(conversation)? {
            Err(reason) => return Ok(Err(reason)),
            Ok((_, answers)) if answers.is_empty() && config.task == Task::Instruction => {
                return Ok(Err(conversation.without_answer()));
            }
            Ok((text, _)) => {
                rendered = text;
                &rendered
            }
        },
    };
    if !tokenizer.may_fail() {
        return Ok(Ok(()));
    }
    Ok(match tokenizer.encode(text) {
        Err(DataError::Tokenizer { name, reason }) => Err(format!("the tokenizer {name} cannot encode it: {reason}")),
        result => result.map(|_| ()).map_err(|error| error.to_string()),
    })
}

/// Truncates to `most` tokens, of which the last `kept` stay.
fn truncate(tokens: &mut Vec<u32>, most: usize, kept: usize) {
    let behind = tokens.split_off(tokens.len() - kept);
    tokens.truncate(most.saturating_sub(kept));
    tokens.extend(behind);
    tokens.truncate(most);
}

/// The sequence of a whole record, or of one with more than `most` tokens at least the first `most`; with the number of
/// its last tokens that truncation keeps.
fn sequence(tokenizer: &Tokenizer, record: &Record, task: Task, most: usize) -> Result<(Sequence, usize), DataError> {
    let answered = match &record.content {
        Content::Image(image) => {
            let goal = record.class.map_or(Goal::From(0), Goal::Class);
            return Ok((Sequence { tokens: Vec::new(), goal, image: Some(image.clone()) }, 0));
        }
        Content::Text { text, answer: None } => {
            let goal = record.class.map_or(Goal::From(0), Goal::Class);
            let (tokens, special) = match most {
                usize::MAX => (tokenizer.encode_long(text)?, 0),
                // One more token shows that there are more.
                most => tokenizer.encode_with_ending(tokenizer.long_enough_prefix(text, most + 1)?)?,
            };
            let kept = if record.class.is_some() { special } else { 0 };
            return Ok((Sequence { tokens, goal, image: None }, kept));
        }
        Content::Text { text, answer: Some(answer) } => tokenizer.encode_answer(text, answer.clone(), most)?,
        Content::Chat(conversation) => tokenizer.encode_chat(conversation, most)?,
    };
    let goal = if task == Task::Instruction { Goal::Spans(answered.spans) } else { Goal::From(0) };
    Ok((Sequence { tokens: answered.tokens, goal, image: None }, 0))
}

fn windows(sequences: &mut Vec<Sequence>, tokens: &[u32], most: usize) {
    let window = |window: &[u32]| Sequence { tokens: window.to_vec(), goal: Goal::From(0), image: None };
    sequences.extend(tokens.chunks(most).map(window).filter(Sequence::teaches));
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "one span of several that there could be")]
mod tests {
    use super::super::tokenizer::tests::{enclosing, words};
    use super::*;

    fn record(text: &str) -> Record {
        Record { content: Content::text(text), class: None }
    }

    fn tokens(texts: &[&str], max_tokens: usize, long: LongRecords) -> Vec<Vec<u32>> {
        let records: Vec<_> = texts.iter().map(|text| record(text)).collect();
        let config = Config { max_tokens, long, ..Config::default() };
        let sequences = tokenize(&words(), &records, &config).unwrap();
        sequences.into_iter().map(|sequence| sequence.tokens).collect()
    }

    #[test]
    fn a_long_record_becomes_windows_is_cut_or_is_left_out() {
        assert_eq!(tokens(&["to be or not"], 3, LongRecords::Split), [vec![0, 2, 3], vec![4, 5]]);
        assert_eq!(tokens(&["to be or not"], 3, LongRecords::Truncate), [vec![0, 2, 3]]);
        assert_eq!(tokens(&["to be or not", "to be"], 3, LongRecords::Drop), [vec![0, 2, 3]]);
    }

    #[test]
    fn what_has_nothing_to_predict_is_left_out_and_records_are_never_packed() {
        assert_eq!(
            tokens(&["to be or not to be", "", "or"], 3, LongRecords::Split),
            [vec![0, 2, 3], vec![4, 5, 2], vec![0, 4]]
        );
    }

    #[test]
    fn a_record_of_a_class_is_one_sequence_and_always_cut() {
        let records = [Record { class: Some(3), ..record("to be or not") }, Record { class: Some(0), ..record("") }];
        let config = Config { task: Task::Classification, max_tokens: 3, ..Config::default() };
        let sequences = tokenize(&words(), &records, &config).unwrap();
        let found: Vec<_> = sequences.into_iter().map(|sequence| (sequence.tokens, sequence.goal)).collect();
        assert_eq!(found, [(vec![0, 2, 3], Goal::Class(3)), (vec![0], Goal::Class(0))]);
    }

    #[test]
    fn the_special_tokens_around_a_text_of_a_class_stay_where_it_is_cut() {
        let of = |text: &str, max_tokens: usize| {
            let records = [Record { class: Some(1), ..record(text) }];
            let config = Config { task: Task::Classification, max_tokens, ..Config::default() };
            tokenize(&enclosing(), &records, &config).unwrap().remove(0).tokens
        };
        assert_eq!(of("to be or not", 9), [0, 2, 3, 4, 5, 1]);
        assert_eq!(of("to be or not", 5), [0, 2, 3, 4, 1]);
        assert_eq!(of("to be or not", 3), [0, 2, 1]);
        assert_eq!(of("to be or not", 2), [0, 1]);
        assert_eq!(of("", 2), [0, 1]);
        // A special token that the text itself has is one like others.
        assert_eq!(of("to be or [SEP]", 5), [0, 2, 3, 4, 1]);
        assert_eq!(of("to be [SEP]", 4), [0, 2, 3, 1]);
        let long = "to be or not ".repeat(20_000);
        assert_eq!(of(&long, 4), [0, 2, 3, 1]);
    }

    #[test]
    fn packed_records_fill_sequences() {
        let config = Config { max_tokens: 4, packing: true, ..Config::default() };
        let sequences = tokenize(&words(), &["to be", "or", "", "not"].map(record), &config).unwrap();
        let found: Vec<_> = sequences.into_iter().map(|sequence| sequence.tokens).collect();
        assert_eq!(found, [vec![0, 2, 3, 0], vec![4, 0, 0, 5]]);
    }

    #[test]
    fn of_an_answer_only_its_tokens_are_learned_and_what_is_cut_off_has_nothing_to_teach() {
        let answered = |text: &str, answer| Record {
            content: Content::Text { text: text.into(), answer: Some(answer) },
            class: None,
        };
        let records = [answered("to be or not", 3..8), answered("to be or not", 9..12), answered("to be", 5..5)];
        let config = Config { task: Task::Instruction, max_tokens: 4, ..Config::default() };
        let sequences = tokenize(&words(), &records, &config).unwrap();
        let found: Vec<_> = sequences.into_iter().map(|sequence| (sequence.tokens, sequence.goal)).collect();
        assert_eq!(found, [(vec![0, 2, 3, 4], Goal::Spans(vec![2..4]))]);
    }

    #[test]
    fn a_picture_is_a_sequence_without_tokens() {
        let image = Arc::new(Image { channels: 1, height: 1, width: 1, values: vec![7] });
        let record = Record { content: Content::Image(image.clone()), class: Some(2) };
        let sequences = tokenize(&words(), [&record], &Config::default()).unwrap();
        assert_eq!(sequences, [Sequence { tokens: Vec::new(), goal: Goal::Class(2), image: Some(image) }]);
    }

    #[test]
    fn what_is_predicted_follows_the_goal_and_is_never_the_first_token() {
        let predicted = |goal| {
            let sequence = Sequence { tokens: vec![0, 2, 3, 4, 5], goal, image: None };
            (sequence.predicted().collect::<Vec<_>>(), sequence.teaches())
        };
        assert_eq!(predicted(Goal::From(0)), (vec![1, 2, 3, 4], true));
        assert_eq!(predicted(Goal::From(3)), (vec![3, 4], true));
        assert_eq!(predicted(Goal::From(5)), (vec![], false));
        assert_eq!(predicted(Goal::Spans(vec![0..2, 4..9])), (vec![1, 4], true));
        assert_eq!(predicted(Goal::Spans(vec![0..1])), (vec![], false));
        assert_eq!(predicted(Goal::Class(7)), (vec![], true));
    }
}
