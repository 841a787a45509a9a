//! The answers of a conversation in its text: a chat template and a conversation in, text and byte ranges out.
//!
//! A template with `generation` tags marks the answers itself. For any other template they are found by rendering: an
//! answer begins where the text of the turns before it, with the generation prompt, ends, and it ends where the text of
//! the turns up to it ends. Where such a text is no prefix of the whole, since the template writes a last turn
//! otherwise, a marker in a turn shows the turn's position, and the text behind the marker is compared.

use std::ops::Range;

use super::conversation::Conversation;
use super::ordered_json::{Fields, Json, get};
use super::template::{CLOSE, ChatTemplate, MARK, OPEN, Steps, Turns};

impl ChatTemplate {
    /// A conversation as text, with the byte ranges of its answers, in order.
    ///
    /// # Errors
    /// The error that the template raises, and a message where the answers cannot be found.
    pub(in crate::data) fn render(&self, conversation: &Conversation) -> Result<(String, Vec<Range<usize>>), String> {
        on_a_deep_stack(|| self.render_here(conversation))?
    }

    /// A conversation as text, with the beginning of the answer that is to come.
    ///
    /// # Errors
    /// The template's error for this conversation.
    pub(in crate::data) fn prompt(&self, conversation: &Conversation) -> Result<String, String> {
        on_a_deep_stack(|| {
            let turns = Turns::new(conversation);
            self.text(&turns, turns.count(), true, &Steps::of_a_record())
        })?
    }

    fn render_here(&self, conversation: &Conversation) -> Result<(String, Vec<Range<usize>>), String> {
        let steps = Steps::of_a_record();
        let turns = Turns::new(conversation);
        let text = self.text(&turns, turns.count(), false, &steps)?;
        if text.contains([OPEN, CLOSE, MARK]) {
            return Err("the text has one of the noncharacters U+FDD0 to U+FDD2, which mark answers here".into());
        }
        if self.marks_answers() {
            let (generated, answers) = self.generated(&turns, &steps)?;
            if generated != text {
                return Err(
                    "its text depends on marks around what is generated, so answers cannot be found in it".into()
                );
            }
            return Ok((text, answers.into_iter().filter(|answer| !answer.is_empty()).collect()));
        }
        let mut search = AnswerSearch { template: self, conversation, turns, steps, text, marked: Vec::new() };
        let mut answers = Vec::new();
        for number in conversation.answers() {
            answers.push(search.answer(number).map_err(|reason| format!("turn {}: {reason}", number + 1))?);
        }
        Ok((search.text, answers))
    }
}

/// Bytes of the stack of a rendering: nested lists, as many as the limit of steps allows, are dropped recursively.
/// Unused stack costs no memory.
const STACK: usize = 512 << 20;

fn on_a_deep_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, String> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("chat-template".into()).stack_size(STACK);
        let thread = thread.spawn_scoped(scope, work).map_err(|error| format!("no thread to render it on: {error}"))?;
        thread.join().map_err(|_| "the thread that renders it gave up".into())
    })
}

struct AnswerSearch<'a> {
    template: &'a ChatTemplate,
    conversation: &'a Conversation,
    turns: Turns,
    steps: Steps,
    /// The whole conversation.
    text: String,
    /// The marker positions that were asked for, by turn and side.
    marked: Vec<(usize, Side, Option<usize>)>,
}

/// The end of a content at which a marker is put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Before,
    Behind,
}

impl AnswerSearch<'_> {
    fn answer(&mut self, number: usize) -> Result<Range<usize>, String> {
        let start = self.start(number)?;
        let end = self.end(number)?;
        match start <= end {
            true => Ok(start..end),
            false => Err("the answer ends before it begins in the text".into()),
        }
    }

    fn start(&mut self, number: usize) -> Result<usize, String> {
        for prompt in [true, false] {
            // A template may refuse the first turns of a conversation that it takes as a whole.
            let Ok(before) = self.template.text(&self.turns, number, prompt, &self.steps) else { continue };
            if self.text.starts_with(&before) {
                return Ok(before.len());
            }
            let Some(previous) = number.checked_sub(1) else { continue };
            if let Some((place, tail)) = self.text_after_turn(previous, number, prompt)?
                && self.text[place..].starts_with(&tail)
            {
                return Ok(place + tail.len());
            }
        }
        let reason = "the text before it is not the beginning of the whole text, so the answer cannot be found in it";
        self.marker_position(number, Side::Before)?.ok_or_else(|| reason.into())
    }

    fn end(&mut self, number: usize) -> Result<usize, String> {
        let answered = self.template.text(&self.turns, number + 1, false, &self.steps)?;
        if self.text.starts_with(&answered) {
            return Ok(answered.len());
        }
        let reason = "the text up to it is not the beginning of the whole text, so the answer cannot be found in it";
        let (place, tail) = self.text_after_turn(number, number + 1, false)?.ok_or(reason)?;
        Ok(place + common_prefix(&tail, &self.text[place..]))
    }

    /// The end of a turn's content in the whole text, and the text behind it when only the first turns are rendered.
    fn text_after_turn(
        &mut self,
        number: usize,
        first: usize,
        prompt: bool,
    ) -> Result<Option<(usize, String)>, String> {
        let Some(place) = self.marker_position(number, Side::Behind)? else { return Ok(None) };
        let Some(turn) = marked(&self.conversation.turns[number], Side::Behind) else { return Ok(None) };
        let text = self.template.text(&self.turns.with(number, &turn), first, prompt, &self.steps)?;
        Ok(text.split_once(MARK).map(|(_, tail)| (place, tail.to_owned())))
    }

    /// The position of a marker at the content of a turn; none where the template does not write it exactly once, or
    /// writes other text because of it.
    fn marker_position(&mut self, number: usize, side: Side) -> Result<Option<usize>, String> {
        if let Some((.., place)) = self.marked.iter().find(|(known, of, _)| (*known, *of) == (number, side)) {
            return Ok(*place);
        }
        let mut place = None;
        if let Some(turn) = marked(&self.conversation.turns[number], side) {
            let turns = self.turns.with(number, &turn);
            let text = self.template.text(&turns, turns.count(), false, &self.steps)?;
            if let Some((before, behind)) = text.split_once(MARK)
                && before.len() + behind.len() == self.text.len()
                && self.text.starts_with(before)
                && self.text.ends_with(behind)
            {
                place = Some(before.len());
            }
        }
        self.marked.push((number, side, place));
        Ok(place)
    }
}

/// A turn with a marker at one end of its content, inside of the white space that a template may strip. Where it has no
/// content, its last tool call has the marker.
fn marked(turn: &Fields, side: Side) -> Option<Fields> {
    let mut turn = turn.clone();
    let has_content = get(&turn, "content").is_some_and(|content| content.clone().mark(side));
    let key = if has_content { "content" } else { "tool_calls" };
    let (_, value) = turn.iter_mut().find(|(name, _)| name == key)?;
    value.mark(side).then_some(turn)
}

impl Json {
    /// Puts a marker into the text of a content, or the name of a call; true where there was such a text.
    fn mark(&mut self, side: Side) -> bool {
        match self {
            Self::Text(text) if text.trim().is_empty() => false,
            Self::Text(text) => {
                let at = match side {
                    Side::Before => text.len() - text.trim_start().len(),
                    Side::Behind => text.trim_end().len(),
                };
                text.insert(at, MARK);
                true
            }
            Self::List(list) => match side {
                Side::Before => list.iter_mut().any(|part| part.mark(side)),
                Side::Behind => list.iter_mut().rev().any(|part| part.mark(side)),
            },
            Self::Object(fields) => {
                let of = |name: &str| ["text", "function", "name"].contains(&name);
                fields.iter_mut().filter(|(name, _)| of(name)).any(|(_, value)| value.mark(side))
            }
            _ => false,
        }
    }
}

/// The length of the common prefix of `tail` and `text`: all of `tail`, or up to the last boundary that is not inside a
/// word or a tag.
fn common_prefix(tail: &str, text: &str) -> usize {
    if text.starts_with(tail) {
        return tail.len();
    }
    let common = tail.char_indices().zip(text.chars()).take_while(|((_, a), b)| a == b);
    let ends = common.filter(|((_, letter), _)| letter.is_whitespace() || ['>', ']', ')', '}'].contains(letter));
    ends.map(|((at, letter), _)| at + letter.len_utf8()).last().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::conversation::tests::talk;
    use super::*;

    /// As Qwen2 has it, in short.
    const CHATML: &str = "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + \
                          message['content'].strip() + '<|im_end|>' + '\n' }}{% endfor %}\
                          {% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

    /// As Llama 2 has it, in short: no prompt of its own before an answer.
    const LLAMA: &str = "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}{{ '[INST] ' + m.content + ' [/INST]' }}\
                         {% elif m.role == 'assistant' %}{{ ' ' ~ m.content ~ ' ' ~ eos_token }}\
                         {% else %}{{ raise_exception('who is ' ~ m.role ~ '?') }}{% endif %}{% endfor %}";

    /// As Qwen3 has it, in short: the last answer begins with an empty thought.
    const THINKING: &str = "{% for m in messages %}{{ '<' + m.role + '>' }}{% if m.role == 'assistant' and loop.last %}<think></think>\
                            {% endif %}{{ m.content }}<end>\n{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}";

    fn template(source: &str) -> ChatTemplate {
        let tokens = [("bos_token", "<s>"), ("eos_token", "</s>")].map(|(name, token)| (name.into(), token.into()));
        ChatTemplate::parse(source, tokens.into()).unwrap()
    }

    fn answers(source: &str, turns: &[(&str, &str)]) -> Result<Vec<String>, String> {
        let (text, answers) = template(source).render(&talk(turns))?;
        Ok(answers.into_iter().map(|answer| text[answer].to_owned()).collect())
    }

    const FOUR: [(&str, &str); 4] = [("user", "Hi"), ("assistant", " Hello. "), ("user", "Bye"), ("assistant", "Bye.")];

    #[test]
    fn answers_are_found_by_rendering_what_comes_before_them() {
        assert_eq!(answers(CHATML, &FOUR).unwrap(), ["Hello.<|im_end|>\n", "Bye.<|im_end|>\n"]);
        assert_eq!(answers(LLAMA, &FOUR).unwrap(), ["  Hello.  </s>", " Bye. </s>"]);
    }

    #[test]
    fn answers_are_found_where_the_last_one_is_written_otherwise() {
        assert_eq!(answers(THINKING, &FOUR).unwrap(), [" Hello. <end>\n", "<think></think>Bye.<end>\n"]);
        let again = [("user", "<think></think>"), ("assistant", "a"), ("user", "a"), ("assistant", "a")];
        assert_eq!(answers(THINKING, &again).unwrap(), ["a<end>\n", "<think></think>a<end>\n"]);
        let stops =
            "{% for m in messages %}[{{ m.role }}] {{ m.content }}</s>{% if loop.last %}<eos>{% endif %}{% endfor %}";
        let found = answers(stops, &FOUR).unwrap();
        assert_eq!(found, ["Hello. </s>", "Bye.</s><eos>"]);
    }

    #[test]
    fn a_prompt_that_the_last_question_changes_does_not_hide_answers() {
        let tools = "{% for m in messages %}{% if m.role == 'user' %}{% if loop.index0 >= messages | length - 2 %}[SYS]{% endif %}\
                     [INST] {{ m.content }} [/INST]{% else %} {{ m.content }}</s>{% endif %}{% endfor %}";
        let two = [("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d")];
        assert_eq!(answers(tools, &two).unwrap(), [" b</s>", " d</s>"]);
    }

    #[test]
    fn an_answer_without_a_question_is_found_though_the_template_refuses_nothing_before_it() {
        let first = "{% if messages[0].role == 'system' %}{{ messages[0].content }}{% endif %}\
                     {% for m in messages %}<{{ m.role }}>{{ m.content }}</s>{% endfor %}";
        let turns = [("assistant", " I am. "), ("user", "Hi"), ("assistant", "Yes")];
        assert_eq!(answers(first, &turns).unwrap(), ["I am. </s>", "<assistant>Yes</s>"]);
    }

    #[test]
    fn what_a_template_calls_generated_is_the_answer() {
        let source = "{% for m in messages %}{% if m.role == 'assistant' %}A: {%- generation -%} {{ m.content }}\
                      {{ eos_token }}{% endgeneration %}{% else %}{{ m.content }}{% endif %}{% endfor %}";
        assert_eq!(answers(source, &FOUR).unwrap(), [" Hello. </s>", "Bye.</s>"]);
    }

    #[test]
    fn what_a_template_raises_or_hides_is_an_error() {
        let error = answers(LLAMA, &[("tool", "x")]).unwrap_err();
        assert!(error.contains("who is tool?"), "{error}");
        let forgets =
            "{% for m in messages %}{% if loop.last or m.role == 'user' %}{{ m.content }};{% endif %}{% endfor %}";
        let error = answers(forgets, &FOUR).unwrap_err();
        assert!(error.starts_with("turn 2: the text up to it is not the beginning"), "{error}");
        let error = answers(CHATML, &[("assistant", "a\u{fdd2}")]).unwrap_err();
        assert!(error.contains("noncharacters"), "{error}");
        assert!(ChatTemplate::parse("{% for %}", Default::default()).is_err());
    }

    #[test]
    fn a_template_that_takes_all_time_or_all_memory_ends_at_its_limit() {
        let turns = [("user", "a")];
        let error = |source: &str| template(source).render(&talk(&turns)).unwrap_err();
        let loops = "{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}{% endfor %}{% endfor %}{% endfor %}";
        let doubles = "{% set n = namespace(t='0123456789abcdef') %}{% for i in range(40) %}{% set n.t = n.t + n.t %}{% endfor %}";
        for source in [
            loops,
            doubles,
            &doubles.replace("n.t + n.t", "n.t ~ n.t"),
            &doubles.replace("n.t + n.t", "n.t | replace('', n.t)"),
            &doubles.replace("n.t + n.t", "n.t.replace('0', n.t)"),
            &doubles.replace("n.t + n.t", "[n.t, n.t] | join"),
            &doubles.replace("n.t + n.t", "n.t.join([n.t, n.t])"),
            &doubles.replace("n.t + n.t", "n.t | indent(99999999, true)"),
            &doubles.replace("n.t + n.t", "'%9999999999d' | format(1)"),
            &doubles.replace("n.t + n.t", "'{:9999999999}'.format(1)"),
            &doubles.replace("n.t + n.t", "'{:{}}'.format(1, 9999999999)"),
            "{{ ('{:999999}' * 9999).format(1) }}",
            "{{ 'x' * 999999999999 }}",
            "{{ 'x' | center(99999999999) }}",
            "{{ 'x'.ljust(99999999999) }}",
            "{{ [1] | slice(99999999999) | list | length }}",
            "{{ [1] | batch(99999999999, 0) | list | length }}",
            "{{ [1] * 999999999999 }}",
            "{{ range(99999999999) | list }}",
            "{% set n = namespace(l=[]) %}{% for i in range(99999) %}{% for j in range(99) %}{% set n.l = [n.l] %}{% endfor %}{% endfor %}",
            "{% set n = namespace(l=[]) %}{% for i in range(300) %}{% set n.l = [n.l] %}{% endfor %}{{ n.l }}",
            "{% set n = namespace(l={}) %}{% for i in range(300) %}{% set n.l = {'a': n.l} %}{% endfor %}{{ n.l | tojson }}",
            "{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}",
        ] {
            assert!(!error(source).is_empty(), "{source}");
        }
        assert!(error(loops).contains("more than the limit of 4000000 steps"), "{}", error(loops));
    }

    #[test]
    fn lists_in_lists_do_not_end_the_process_whatever_is_done_with_them() {
        let deep = "{% set n = namespace(l=[]) %}{% set m = namespace(l=[]) %}{% for i in range(2000) %}{% for j in range(99) %}\
                    {% set n.l = [n.l] %}{% set m.l = [m.l] %}{% endfor %}{% endfor %}";
        for then in [
            "n.l ~ 'x'",
            "n.l == m.l",
            "[n.l, m.l] | sort | length",
            "[n.l, m.l] | unique | list | length",
            "{n.l: 1} | length",
            "n.l | tojson",
            "n.l",
        ] {
            let rendered = template(&format!("{deep}{{{{ {then} }}}}")).render(&talk(&[("user", "a")]));
            assert!(rendered.is_err() || rendered.is_ok_and(|(text, _)| text.len() < 64 << 20), "{then}");
        }
    }
}
