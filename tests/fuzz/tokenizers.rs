//! Fuzzes the files of tokenizers: any bytes as tokenizer.json, as tokenizer_config.json or as a chat template, and some texts
//! and a conversation through what was read. What the bytes begin with says which file they are. A panic, a hang, or memory
//! without bound is a find.

#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use cellm::data::{Config, Dataset, Record, Task, Tokenizer, tokenize};
use libfuzzer_sys::fuzz_target;

const GOOD: &[u8] = include_bytes!("seeds/tokenizers/tokenizer.json");
/// On one line: a line that begins with a brace would be the next record.
const TALK: &str = concat!(
    r#"{"messages": [{"role": "system", "content": "be"}, {"role": "user", "content": "to be or"}, "#,
    r#"{"role": "assistant", "content": "not to be"}, {"role": "user", "content": "or"}, "#,
    r#"{"role": "assistant", "content": "be"}]}"#
);
const TEXTS: [&str; 4] =
    ["", "to be or not to be", "<s> \u{1f600} ÄÖ\u{301}\u{0}\u{10ffff}  \t\r\n", "aaaaaaaaaaaaaaaaaaaa"];

static FOLDER: LazyLock<PathBuf> = LazyLock::new(cellm_fuzz::folder);

/// A conversation, and the config that learns its answers.
static TALKS: LazyLock<(Vec<Record>, Config)> = LazyLock::new(|| {
    let folder = cellm_fuzz::folder();
    cellm_fuzz::put(&folder, "talk.json", TALK.as_bytes());
    let config = Config {
        path: Some(folder.join("talk.json")),
        task: Task::Instruction,
        template: "messages".into(),
        ..Config::default()
    };
    let records = Dataset::load(&config, None, None).and_then(|data| data.read(&[0])).expect("a conversation");
    (records, config)
});

fn use_it(tokenizer: &Tokenizer) {
    for text in TEXTS {
        if let Ok(tokens) = tokenizer.encode(text) {
            let _ = tokenizer.decode(&tokens);
        }
    }
    let _ = tokenizer.decode(&[0, 1, 2, 5, u32::MAX]);
    let (records, config) = &*TALKS;
    if let Ok(sequences) = tokenize(tokenizer, records, config) {
        assert!(sequences.iter().all(|sequence| sequence.predicted().all(|at| at < sequence.tokens.len())));
    }
}

fuzz_target!(|data: &[u8]| {
    let says = |word: &[u8]| data.windows(word.len()).any(|window| window == word);
    if data.first() == Some(&b'{') && says(b"\"model\"") {
        if let Ok(tokenizer) = Tokenizer::from_bytes(data, "any") {
            use_it(&tokenizer);
        }
        return;
    }
    let name = if data.first() == Some(&b'{') && !data.starts_with(b"{{") && !data.starts_with(b"{%") {
        "tokenizer_config.json"
    } else {
        "chat_template.jinja"
    };
    cellm_fuzz::put(&FOLDER, "tokenizer.json", GOOD);
    cellm_fuzz::put(&FOLDER, name, data);
    if let Ok(tokenizer) = Tokenizer::from_folder(&FOLDER) {
        use_it(&tokenizer);
    }
    std::fs::remove_file(FOLDER.join(name)).expect("a file that was put");
});
