//! Generation: a prompt's tokens in, the tokens after it, or their text, out, one by one. Greedy (the most likely token) or sampled, from
//! the most likely tokens that together have a share of `top_p` (nucleus sampling, Holtzman et al. 2020).

use rand_chacha::ChaCha8Rng;
use rand_core::Rng;

use super::team::Team;
use super::transformer::{AdapterTensors, Cache};
use super::values::values;
use super::{Trainer, TrainerError};
use crate::random::{Purpose, stream};

/// The settings of a generation.
#[derive(Debug, Clone, PartialEq)]
pub struct Generation {
    /// Tokens after the prompt, at most.
    pub max_tokens: usize,
    /// Divisor of the logits before they become shares; 0 takes the most likely token each time.
    pub temperature: f32,
    /// Share of the most likely tokens that one is drawn from, above 0 and at most 1.
    pub top_p: f32,
    /// Seed of the draws.
    pub seed: u64,
    /// Tokens that end the text; the one that does is not part of it.
    pub ends: Vec<u32>,
    /// Threads that compute it in main memory, at least 1. The tokens do not depend on them.
    pub threads: usize,
}

/// A text with its tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generated {
    /// The text after the prompt.
    pub text: String,
    /// Its tokens.
    pub tokens: Vec<u32>,
    /// The reason for its end.
    pub ended: Ended,
}

/// The reason for which a generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// A token that ends a text.
    Token,
    /// `max_tokens`.
    MaxTokens,
    /// The model's last position.
    Positions,
    /// The receiver of the tokens wanted no more.
    Receiver,
}

impl Ended {
    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Token => "end",
            Self::MaxTokens => "max_tokens",
            Self::Positions => "positions",
            Self::Receiver => "stopped",
        }
    }
}

impl Trainer {
    /// Reads the prompt, then hands each token to `receiver` as it is chosen, until that returns false. `weights` are
    /// adapter values, `None` is the base model alone. The same arguments give the same tokens.
    ///
    /// # Errors
    /// [`TrainerError::Setting`] naming a setting out of range, [`TrainerError::NoGeneration`] where the model predicts no
    /// next token, [`TrainerError::Logit`] where a logit is no number, else as [`Self::logits`].
    pub fn generate(
        &self,
        weights: Option<&[f32]>,
        prompt: &[u32],
        generation: &Generation,
        mut receiver: impl FnMut(u32) -> bool,
    ) -> Result<Ended, TrainerError> {
        self.check_generation(prompt, generation)?;
        let adapted = self.adapter_or_base(weights)?;
        std::thread::scope(|scope| {
            // Threads that wait for each other by looking are slower than none where they share a core.
            let cores = std::thread::available_parallelism().map_or(1, usize::from);
            let team = Team::start(scope, generation.threads.min(cores));
            self.generate_with(&adapted, prompt, generation, &team, &mut receiver)
        })
    }

    /// The text of [`Self::generate`]. Each piece of it is handed to `receiver` once no later token can change it; an
    /// empty one for a token that completes none.
    ///
    /// # Errors
    /// As [`Self::generate`], and where the tokenizer does not know a token.
    pub fn generate_text(
        &self,
        weights: Option<&[f32]>,
        prompt: &[u32],
        generation: &Generation,
        mut receiver: impl FnMut(&str) -> bool,
    ) -> Result<Generated, TrainerError> {
        let mut stream = self.model().tokenizer().stream(prompt);
        let (mut text, mut tokens, mut failed) = (String::new(), Vec::new(), None);
        let ended = self.generate(weights, prompt, generation, |token| {
            tokens.push(token);
            match stream.push(token) {
                Ok(piece) => {
                    text.push_str(&piece);
                    receiver(&piece)
                }
                Err(error) => {
                    failed = Some(error);
                    false
                }
            }
        })?;
        if let Some(error) = failed {
            return Err(error.into());
        }
        let rest = stream.finish()?;
        receiver(&rest);
        Ok(Generated { text: text + &rest, tokens, ended })
    }

    fn generate_with(
        &self,
        adapted: &AdapterTensors,
        prompt: &[u32],
        generation: &Generation,
        team: &Team,
        receiver: &mut dyn FnMut(u32) -> bool,
    ) -> Result<Ended, TrainerError> {
        let transformer = &self.model().transformer;
        let (mut cache, mut draws) = (Cache::default(), stream(generation.seed, Purpose::Generation, 0, 0));
        let (mut new, mut chosen) = (prompt.to_vec(), 0);
        while chosen < generation.max_tokens {
            let logits = values(transformer.extend(&new, adapted, &mut cache, team))?;
            let token = choose(&logits, generation, chosen, &mut draws)?;
            if generation.ends.contains(&token) {
                return Ok(Ended::Token);
            }
            chosen += 1;
            if !receiver(token) {
                return Ok(Ended::Receiver);
            }
            // The token that was chosen needs a position of its own to be read.
            if prompt.len() + chosen > transformer.spec.positions {
                return Ok(Ended::Positions);
            }
            new = vec![token];
        }
        Ok(Ended::MaxTokens)
    }

    fn check_generation(&self, prompt: &[u32], generation: &Generation) -> Result<(), TrainerError> {
        let spec = &self.model().transformer.spec;
        if spec.is_encoder() || self.classes() > 0 {
            return Err(TrainerError::NoGeneration { family: spec.family, classes: self.classes() });
        }
        let setting = |fine: bool, key, found: String, expected| match fine {
            true => Ok(()),
            false => Err(TrainerError::Setting { key, found, expected }),
        };
        let Generation { temperature, top_p, .. } = *generation;
        setting(temperature >= 0.0 && temperature.is_finite(), "temperature", temperature.to_string(), "from 0 up")?;
        setting(top_p > 0.0 && top_p <= 1.0, "top-p", top_p.to_string(), "above 0 and at most 1")?;
        setting(!prompt.is_empty(), "prompt", "no token".into(), "at least one token")?;
        self.limits().check_tokens(prompt)
    }
}

/// The next token by its logits.
fn choose(logits: &[f32], how: &Generation, token: usize, draws: &mut ChaCha8Rng) -> Result<u32, TrainerError> {
    if let Some(odd) = logits.iter().find(|logit| !logit.is_finite()) {
        return Err(TrainerError::Logit { token, value: *odd });
    }
    let largest = (0..logits.len()).fold(0, |best, at| if logits[at] > logits[best] { at } else { best });
    if how.temperature == 0.0 {
        return Ok(largest as u32);
    }
    let share = |at: u32| (f64::from(logits[at as usize] - logits[largest]) / f64::from(how.temperature)).exp();
    let mut shares: Vec<(u32, f64)> = (0..logits.len() as u32).map(|at| (at, share(at))).collect();
    shares.sort_by(|(first, one), (second, other)| other.total_cmp(one).then(first.cmp(second)));
    let total: f64 = shares.iter().map(|(_, share)| share).sum();
    let mut kept = 0.0;
    let nucleus = shares.iter().position(|(_, share)| {
        kept += share;
        kept >= f64::from(how.top_p) * total
    });
    shares.truncate(nucleus.map_or(shares.len(), |last| last + 1));
    let total: f64 = shares.iter().map(|(_, share)| share).sum();
    // 53 random bits: a number in [0, 1).
    let mut left = (draws.next_u64() >> 11) as f64 / (1u64 << 53) as f64 * total;
    let drawn = shares.iter().find(|(_, share)| {
        left -= share;
        left < 0.0
    });
    Ok(drawn.or(shares.last()).map_or(largest as u32, |(token, _)| *token))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn how(temperature: f32, top_p: f32) -> Generation {
        Generation { max_tokens: 1, temperature, top_p, seed: 7, ends: Vec::new(), threads: 1 }
    }

    fn drawn(logits: &[f32], how: &Generation, count: usize) -> Vec<u32> {
        let mut draws = stream(how.seed, Purpose::Generation, 0, 0);
        (0..count).map(|token| choose(logits, how, token, &mut draws).unwrap()).collect()
    }

    #[test]
    fn without_temperature_it_is_the_most_likely_token_the_first_of_equals() {
        assert_eq!(drawn(&[0.5, 2.0, 2.0, -1.0], &how(0.0, 0.1), 3), [1, 1, 1]);
    }

    #[test]
    fn draws_follow_the_shares_of_the_temperature() {
        // Shares 0.2 and 0.8 at temperature 2.
        let logits = [0.0, 2.0 * 4f32.ln()];
        let ones = drawn(&logits, &how(2.0, 1.0), 4000).iter().filter(|token| **token == 1).count();
        assert!((3100..3300).contains(&ones), "{ones}");
    }

    #[test]
    fn the_nucleus_is_the_fewest_tokens_with_the_share() {
        // Shares 0.5, 0.3 and 0.2.
        let logits = [0.2f32.ln(), 0.5f32.ln(), 0.3f32.ln()];
        let seen = |top_p| {
            let mut seen = drawn(&logits, &how(1.0, top_p), 200);
            seen.sort_unstable();
            seen.dedup();
            seen
        };
        assert_eq!((seen(0.45), seen(0.75), seen(0.95)), (vec![1], vec![1, 2], vec![0, 1, 2]));
    }

    #[test]
    fn a_logit_that_is_no_number_is_an_error() {
        let mut draws = stream(1, Purpose::Generation, 0, 0);
        let error = choose(&[0.0, f32::NAN], &how(0.0, 1.0), 4, &mut draws).unwrap_err().to_string();
        assert_eq!(error, "a logit of generated token 4 is NaN");
    }
}
