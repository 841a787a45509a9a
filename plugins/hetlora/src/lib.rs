//! `hetlora`: zero-padded aggregation of adapters of several ranks, weighted by norm (Cho, Liu, Xu, Fahrezi, Joshi 2024,
//! "Heterogeneous LoRA for Federated Fine-tuning of On-Device Foundation Models", arXiv 2401.06432, sparsity-weighted
//! aggregation). Client `i` of tier rank `r_i` has trained the first `r_i` rows of A and columns of B, so it ended with
//! `A_i = (base + update)[..r_i, :]` and `B_i = (base + update)[:, ..r_i]`. In each layer it weighs `S_i = ||B_i A_i||_F`:
//!
//! `A = sum of S_i pad(A_i) / sum of S_i`, and B likewise; `pad` fills with zeros up to the whole rank.
//!
//! So in the paper a direction that only some clients have is diluted by the zeros of the others: it shrinks by the weight of
//! those without it. The weights by norm lessen this and do not end it. `absent = "zero"` is the paper's way;
//! `absent = "skip"` takes the mean of each direction over those that have it. Either way a direction that nobody in the
//! cohort has keeps its value, where zeros would end it for good (A and B of a direction that are both zero have no gradient).
//!
//! It serves clients, too (`download.policy` and `upload.policy`): a tier of rank `r_i` is sent `A[..r_i, :]` and
//! `B[:, ..r_i]`, starts from zero in the other directions, and sends the same ones back, values without indices. With
//! another compressor, such as `dense`, clients see all directions and train the first `r_i`. The run evaluates what the tier
//! of the highest density, then rank, sees.
//!
//! The norms come from `r x r` matrices; nothing of `out x in` is made. Other tensors get the plain mean. With equal ranks and
//! uniform weighting this is `fedavg`.

mod clients;
mod layer;
mod server;
mod truncation;

use cellm_plugin::{Capabilities, Description, Exported, Policy, PolicyError, option};

use clients::Messages;
use server::Server;

/// One side: what a direction's messages need, or what the server sums up.
pub enum HetLora {
    /// Of a compressor.
    Messages(Messages),
    /// Of an aggregator.
    Server(Server),
}

impl HetLora {
    fn messages(&mut self) -> Result<&mut Messages, PolicyError> {
        match self {
            Self::Messages(messages) => Ok(messages),
            Self::Server(_) => Err(PolicyError::Other("this instance aggregates, it has no messages".into())),
        }
    }

    fn server(&mut self) -> Result<&mut Server, PolicyError> {
        match self {
            Self::Server(server) => Ok(server),
            Self::Messages(_) => Err(PolicyError::Other("this instance makes messages, it does not aggregate".into())),
        }
    }
}

impl Policy for HetLora {
    fn describe() -> Description {
        let weighting =
            "`norm` weighs a client by the Frobenius norm of its B A in each layer, `uniform` counts each once.";
        let absent =
            "What a client counts as in a direction above its rank: `zero` as in the paper, `skip` not at all.";
        Description {
            name: "hetlora".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            about:
                "Tiers of several ranks: sends each its first directions, and averages what comes back, padded with \
                    zeros and weighted by the norm of B A."
                    .into(),
            capabilities: Capabilities::LINEAR | Capabilities::CHANGES_LAYOUT,
            options: vec![
                option::choice("weighting", &["norm", "uniform"], weighting),
                option::choice("absent", &["zero", "skip"], absent),
            ],
        }
    }
}

type Component = Exported<HetLora>;
cellm_plugin::export_policy!(Component);

#[cfg(test)]
mod tests;
