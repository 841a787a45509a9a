//! `lora-a2`: of the factor that was trained, only the ranks that contributed most to the change of `B A` are sent.
//!
//! With A frozen, rank v of a pair changes the product by `dB[:, v] A[v, :]`, whose norm is `||dB[:, v]|| * ||A[v, :]||`; with B
//! frozen it is `||B[:, v]|| * ||dA[v, :]||` (LoRA-A2, arXiv 2410.22815, eq. 2).

use cellm_plugin::{Context, IndexSet, PolicyError, Vector, load, save, share_of};

use crate::pairs::Pairs;
use crate::scheme::Part;

/// Memory of a client: the norms of the frozen factor's ranks, as the round began.
const FROZEN: &str = "frozen";

/// The group within which ranks compete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pool {
    /// All ranks of all pairs together, as in the paper.
    All,
    /// Those of one pair.
    Pair,
}

impl Pool {
    /// Number of ranks of an upload.
    pub fn count(self, pairs: &Pairs, density: f64) -> u32 {
        match self {
            Pool::All => share_of(density, pairs.ranks()),
            Pool::Pair => pairs.spans().map(|(_, rank)| share_of(density, rank)).sum(),
        }
    }

    /// The ranks of the largest scores.
    fn best(self, pairs: &Pairs, scores: &Vector, density: f64) -> IndexSet {
        if self == Pool::All {
            return scores.top_k(0, pairs.ranks(), share_of(density, pairs.ranks()));
        }
        let none = IndexSet::runs(pairs.ranks(), 0, 0, 0, 0);
        let best = |(first, rank)| scores.top_k(first, rank, share_of(density, rank));
        pairs.spans().map(best).fold(none, |chosen, best| chosen.union(&best))
    }
}

/// At the client, before training: remembers how large the frozen factor's ranks are.
pub fn remember_frozen(pairs: &Pairs, trained: Part, received: &Vector) {
    save(FROZEN, &pairs.norms(trained.other(), received));
}

/// At the client, after training: the ranks to send.
pub fn choose(
    pairs: &Pairs,
    pool: Pool,
    trained: Part,
    context: &Context,
    delta: &Vector,
) -> Result<IndexSet, PolicyError> {
    let scores = pairs.norms(trained, delta);
    let frozen = load(FROZEN).filter(|norms| norms.len() == pairs.ranks()).ok_or_else(|| {
        let round = context.round;
        PolicyError::Other(format!(
            "no norms of the frozen factor in memory in round {round}: plan comes before encode"
        ))
    })?;
    scores.multiply(&frozen);
    Ok(pool.best(pairs, &scores, context.density))
}
