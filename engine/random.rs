//! Counter-based randomness: every random choice in the product is a stream keyed by (seed, purpose, round, client).
//! The same key gives the same stream on every platform, in any order of use; nothing reads a global generator.

use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;

/// The purpose of a stream. Two purposes never share a stream. The numbers are part of every stored result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Purpose {
    /// Start values of LoRA A.
    LoraStart = 1,
    /// The sample of clients that a round asks.
    Cohort = 2,
    /// The order of a client's examples.
    Shuffle = 3,
    /// LoRA dropout.
    Dropout = 4,
    /// The partition of records over clients.
    Partition = 5,
    /// The sample of records that are held out for validation.
    Split = 6,
    /// A policy on the server's side.
    PolicyDownload = 7,
    /// A policy on a client's side.
    PolicyUpload = 8,
    /// The update that the no-op trainer makes up.
    NoopDelta = 9,
    /// An aggregation policy in one round.
    PolicyAggregate = 10,
    /// The assignment of clients to tiers.
    Tier = 11,
    /// Noise that the server adds to a round's mean.
    ServerNoise = 12,
    /// Noise that a client adds to its update.
    ClientNoise = 13,
    /// The sample of held-out records that a run is evaluated on.
    Evaluation = 14,
    /// The tokens of a generated text.
    Generation = 15,
}

/// The stream for one purpose, round and client under a run's seed.
pub fn stream(seed: u64, purpose: Purpose, round: u32, client: u32) -> ChaCha8Rng {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&(purpose as u64).to_le_bytes());
    key[16..20].copy_from_slice(&round.to_le_bytes());
    key[20..24].copy_from_slice(&client.to_le_bytes());
    ChaCha8Rng::from_seed(key)
}

/// A stream that nobody can repeat, from the operating system: for what has to be hidden, never for what has to be found again.
///
/// # Errors
/// The system's, where it has no randomness to give.
pub fn unrepeatable() -> std::io::Result<ChaCha8Rng> {
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(std::io::Error::other)?;
    Ok(ChaCha8Rng::from_seed(key))
}

#[cfg(test)]
mod tests {
    use rand_core::Rng;

    use super::*;

    #[test]
    fn what_the_system_gives_comes_once() {
        assert_ne!(unrepeatable().unwrap().next_u64(), unrepeatable().unwrap().next_u64());
    }

    #[test]
    fn a_stream_depends_on_every_part_of_its_key_and_on_nothing_else() {
        let first = |seed, purpose, round, client| stream(seed, purpose, round, client).next_u64();
        let one = first(1, Purpose::Cohort, 2, 3);
        assert_eq!(one, first(1, Purpose::Cohort, 2, 3));
        assert_ne!(one, first(2, Purpose::Cohort, 2, 3));
        assert_ne!(one, first(1, Purpose::Shuffle, 2, 3));
        assert_ne!(one, first(1, Purpose::Cohort, 3, 3));
        assert_ne!(one, first(1, Purpose::Cohort, 2, 4));
    }
}
