//! The pre-tokenizers of byte-level vocabularies: `tokenizer.ggml.pre` in, the expressions that cut a text before its
//! pieces are merged out. They are those of llama.cpp, which are those that each vocabulary was made with; each cuts
//! what the one before it left, at both ends of every match.

use serde_json::{Value, json};

/// The rules of a vocabulary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PreTokenizer {
    expressions: &'static [&'static str],
    /// True where a piece that is a token as a whole is not put together from its parts.
    pub whole_pieces: bool,
    /// True where a text begins with the token for its beginning, unless the file says otherwise.
    pub add_bos: bool,
}

/// Contractions, words, numbers and the rest, each with a blank before it.
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)";
/// Up to three digits at a time.
const LLAMA3: &str = concat!(
    r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);
/// A digit at a time.
const QWEN2: &str = concat!(
    r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);
/// Words are cut before a capital. As in the model's own tokenizer; llama.cpp approximates it for letters beyond ASCII.
const TEKKEN: &str = concat!(
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+",
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*",
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);
const FALCON: &[&str] = &[r"[\p{P}\$\+<=>\^~\|`]+", GPT2, "[0-9][0-9][0-9]"];
const DEFAULT: &[&str] = &[r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"];
const DIGITS: &[&str] = &[r"\p{N}", GPT2];
const DEEPSEEK_CODER: &[&str] = &[r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", HAN, r"\p{N}"];
const DEEPSEEK_LLM: &[&str] = &[r"[\r\n]", LETTERS, MARKS, r"\s+$", HAN, r"\p{N}+"];
const DEEPSEEK_V3: &[&str] = &[
    r"\p{N}{1,3}",
    KANA,
    concat!(
        r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"##,
        r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
];
const HAN: &str = r"[\x{4E00}-\x{9FA5}\x{800}-\x{4E00}\x{AC00}-\x{D7FF}]+";
const KANA: &str = r"[\x{4E00}-\x{9FA5}\x{3040}-\x{309F}\x{30A0}-\x{30FF}]+";
const MARKS: &str = r"\s?[!-/:-~\x{FF01}-\x{FF0F}\x{FF1A}-\x{FF5E}\x{2018}-\x{201F}\x{3000}-\x{3002}]+";
/// Letters of alphabets that have capitals.
const LETTERS: &str = concat!(
    r"\s?[A-Za-z\x{B5}\x{C0}-\x{D6}\x{D8}-\x{F6}\x{F8}-\x{1BA}\x{1BC}-\x{1BF}\x{1C4}-\x{293}",
    r"\x{295}-\x{2AF}\x{370}-\x{373}\x{376}\x{377}\x{37B}-\x{37D}\x{37F}\x{386}\x{388}-\x{38A}",
    r"\x{38C}\x{38E}-\x{3A1}\x{3A3}-\x{3F5}\x{3F7}-\x{481}\x{48A}-\x{52F}\x{531}-\x{556}\x{10A0}-",
    r"\x{10C5}\x{13A0}-\x{13F5}\x{13F8}-\x{13FD}\x{1C90}-\x{1CBA}\x{1CBD}-\x{1CBF}\x{1D00}-",
    r"\x{1D2B}\x{1D6B}-\x{1D77}\x{1D79}-\x{1D9A}\x{1E00}-\x{1F15}\x{1F18}-\x{1F1D}\x{1F20}-",
    r"\x{1F45}\x{1F48}-\x{1F4D}\x{1F50}-\x{1F57}\x{1F59}\x{1F5B}\x{1F5D}\x{1F5F}-\x{1F7D}\x{1F80}-",
    r"\x{1FB4}\x{1FB6}-\x{1FBC}\x{1FBE}\x{1FC2}-\x{1FC4}\x{1FC6}-\x{1FCC}\x{1FD0}-\x{1FD3}\x{1FD6}",
    r"-\x{1FDB}\x{1FE0}-\x{1FEC}\x{1FF2}-\x{1FF4}\x{1FF6}-\x{1FFC}\x{2102}\x{2107}\x{210A}-",
    r"\x{2113}\x{2115}\x{2119}-\x{211D}\x{2124}\x{2126}\x{2128}\x{212A}-\x{212D}\x{212F}-\x{2134}",
    r"\x{2139}\x{213C}-\x{213F}\x{2145}-\x{2149}\x{214E}\x{2183}\x{2184}\x{2C00}-\x{2C7B}\x{2C7E}-",
    r"\x{2CE4}\x{2CEB}-\x{2CEE}\x{2CF2}\x{2CF3}\x{A640}-\x{A66D}\x{A680}-\x{A69B}\x{A722}-\x{A76F}",
    r"\x{A771}-\x{A787}\x{A78B}-\x{A78E}\x{AB70}-\x{ABBF}\x{FB00}-\x{FB06}\x{FB13}-\x{FB17}",
    r"\x{FF21}-\x{FF3A}\x{FF41}-\x{FF5A}\x{10400}-\x{1044F}\x{104B0}-\x{104D3}\x{104D8}-\x{104FB}",
    r"\x{10C80}-\x{10CB2}\x{10CC0}-\x{10CF2}\x{118A0}-\x{118DF}\x{1E900}-\x{1E943}]+",
);

/// The names of each rule.
const KINDS: [(&[&str], PreTokenizer); 11] = [
    (&["default"], plain(DEFAULT)),
    (
        &[
            "gpt-2",
            "phi-2",
            "gigachat",
            "a.x-4.0",
            "mellum",
            "exaone4",
            "mpt",
            "olmo",
            "jais",
            "trillion",
            "granite-docling",
        ],
        plain(&[GPT2]),
    ),
    (&["smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b", "mellum2"], plain(DIGITS)),
    (
        &["llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"],
        PreTokenizer { expressions: &[LLAMA3], whole_pieces: true, add_bos: true },
    ),
    (&["dbrx", "smaug-bpe", "glm4", "chatglm-bpe"], plain(&[LLAMA3])),
    (
        &["qwen2", "deepseek-r1-qwen", "kormo", "f2llmv2", "megrez", "stablelm2", "hunyuan", "solar-open", "grok-2"],
        plain(&[QWEN2]),
    ),
    (&["tekken"], PreTokenizer { expressions: &[TEKKEN], whole_pieces: true, add_bos: true }),
    (&["falcon"], plain(FALCON)),
    (&["deepseek-coder"], plain(DEEPSEEK_CODER)),
    (&["deepseek-llm"], plain(DEEPSEEK_LLM)),
    (&["deepseek-v3", "hunyuan-dense", "joyai-llm"], plain(DEEPSEEK_V3)),
];

const fn plain(expressions: &'static [&'static str]) -> PreTokenizer {
    PreTokenizer { expressions, whole_pieces: false, add_bos: false }
}

impl PreTokenizer {
    /// The rules of a name in a file.
    ///
    /// # Errors
    /// A name that is not known, with those that are.
    pub fn of(name: &str) -> Result<Self, String> {
        let known = KINDS.iter().find(|(names, _)| names.contains(&name)).map(|(_, rules)| *rules);
        known.ok_or_else(|| {
            let all: Vec<&str> = KINDS.iter().flat_map(|(names, _)| names.iter().copied()).collect();
            format!("key tokenizer.ggml.pre is {name:.64}, but only {} are supported", all.join(", "))
        })
    }

    /// The part of tokenizer.json.
    pub fn json(self) -> Value {
        let split = |expression: &&str| json!({ "type": "Split", "pattern": { "Regex": expression }, "behavior": "Isolated", "invert": false });
        let bytes = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false });
        let parts: Vec<Value> = self.expressions.iter().map(split).chain([bytes]).collect();
        json!({ "type": "Sequence", "pretokenizers": parts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_not_known_is_refused_with_those_that_are() {
        let error = PreTokenizer::of("kimi-k2").unwrap_err();
        assert!(error.starts_with("key tokenizer.ggml.pre is kimi-k2, but only default, gpt-2, "), "{error}");
    }

    /// The pieces of a text: each expression cuts those before it.
    fn pieces(name: &str, text: &str) -> String {
        let mut pieces = vec![text];
        for expression in PreTokenizer::of(name).unwrap().expressions {
            let expression = fancy_regex::Regex::new(expression).unwrap();
            let cut = |piece| {
                let (mut cut, mut at): (Vec<&str>, usize) = (Vec::new(), 0);
                for found in expression.find_iter(piece) {
                    let found: fancy_regex::Match = found.unwrap();
                    cut.extend([&piece[at..found.start()], found.as_str()]);
                    at = found.end();
                }
                cut.push(&piece[at..]);
                cut.retain(|piece| !piece.is_empty());
                cut
            };
            pieces = pieces.into_iter().flat_map(cut).collect();
        }
        pieces.join("|")
    }

    // llama.cpp cut 400 texts of all kinds of letters as these expressions do.
    #[test]
    fn texts_are_cut_as_each_vocabulary_was_made_with() {
        for (name, expected) in [
            ("gpt-2", "It|'s| 12345| x|=[|\n\n | YourHat|!"),
            ("smollm", "It|'s| |1|2|3|4|5| x|=[|\n\n | YourHat|!"),
            ("llama-bpe", "It|'s| |123|45| x|=[\n\n| | YourHat|!"),
            ("qwen2", "It|'s| |1|2|3|4|5| x|=[\n\n| | YourHat|!"),
            ("tekken", "It|'s| |1|2|3|4|5| x|=[\n\n| | Your|Hat|!"),
            ("falcon", "It|'|s| |123|45| x|=[|\n\n | YourHat|!"),
            ("default", "It|'|s| |123|45| x|=[|\n\n | YourHat|!"),
            ("deepseek-llm", "It|'|s| |12345| x|=[|\n|\n| | YourHat|!"),
            ("deepseek-coder", "It|'|s| |1|2|3|4|5| x|=|[|\n|\n| | YourHat|!"),
            ("deepseek-v3", "It|'s| |123|45| x|=[\n\n| | YourHat|!"),
        ] {
            assert_eq!(pieces(name, "It's 12345 x=[\n\n  YourHat!"), expected, "{name}");
        }
    }

    #[test]
    fn every_expression_can_be_compiled() {
        for (names, rules) in KINDS {
            for expression in rules.expressions {
                assert!(fancy_regex::Regex::new(expression).is_ok(), "{names:?}: {expression}");
            }
        }
    }
}
