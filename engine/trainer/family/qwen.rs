//! Qwen 2 and 2.5: a Llama with biases of queries, keys and values. Qwen 3: one without them that norms each head's queries
//! and keys. In both, the blocks from `max_window_layers` on may see a window alone.

use serde::Deserialize;

use super::llama::{self, Biases};
use super::{Settings, Spec};
use crate::trainer::TrainerError;
use crate::trainer::kernel::Sight;

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    use_sliding_window: bool,
    sliding_window: Option<usize>,
    #[serde(default = "max_window_layers")]
    max_window_layers: usize,
}

/// What `transformers` takes where config.json has none.
fn max_window_layers() -> usize {
    28
}

/// Reads a Qwen 2 or 2.5.
pub(super) fn read_second(settings: &Settings) -> Result<Spec, TrainerError> {
    let shared: llama::Config = settings.parse()?;
    let spec = shared.spec(settings, "Qwen 2", Biases { qkv: true, out: false, mlp: false })?;
    with_windows(spec, settings)
}

/// Reads a Qwen 3.
pub(super) fn read_third(settings: &Settings) -> Result<Spec, TrainerError> {
    let shared: llama::Config = settings.parse()?;
    let bias = shared.attention_bias;
    let mut spec = shared.spec(settings, "Qwen 3", Biases { qkv: bias, out: bias, mlp: false })?;
    spec.names.head_norms = Some(["self_attn.q_norm", "self_attn.k_norm"]);
    with_windows(spec, settings)
}

fn with_windows(mut spec: Spec, settings: &Settings) -> Result<Spec, TrainerError> {
    let Config { use_sliding_window, sliding_window, max_window_layers } = settings.parse()?;
    if let (true, Some(window)) = (use_sliding_window, sliding_window) {
        settings.check(window > 0, "sliding_window", window, "a number above 0, or null,")?;
        let window = Sight::Window(window.min(spec.positions));
        spec.sights.iter_mut().skip(max_window_layers).for_each(|sight| *sight = window);
    }
    Ok(spec)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kind: &str, more: &str) -> Spec {
        let llama = include_str!("../bundled/stories260k/config.json");
        let kind = format!("\"model_type\": \"{kind}\", {more} \"sliding_window\": 9");
        Spec::read(llama.replace("\"model_type\": \"llama\"", &kind).as_bytes(), "config.json").unwrap()
    }

    #[test]
    fn windows_begin_where_the_config_says_and_only_if_it_wants_them() {
        assert_eq!(read("qwen2", "\"max_window_layers\": 3,").sights, [Sight::Before; 5]);
        let [before, window] = [Sight::Before, Sight::Window(9)];
        let sights = read("qwen3", "\"use_sliding_window\": true, \"max_window_layers\": 3,").sights;
        assert_eq!(sights, [before, before, before, window, window]);
    }

    #[test]
    fn the_second_has_biases_and_the_third_has_head_norms() {
        let biased = |spec: &Spec| spec.linears.iter().flatten().filter(|linear| linear.bias).count();
        let (second, third) = (read("qwen2", ""), read("qwen3", ""));
        assert_eq!((biased(&second), second.names.head_norms), (3, None));
        assert_eq!((biased(&third), third.names.head_norms), (0, Some(["self_attn.q_norm", "self_attn.k_norm"])));
    }
}
