//! Do the three policies of a run go together, and with the run's settings? The config and what the policies promise go
//! in, findings come out: what makes the run wrong is refused, what makes it worse than it looks is warned of.

use super::FederationError;
use crate::config::Config;
use crate::policy::{Capabilities, Policy};
use crate::server::OptimizerKind;

/// One thing that does not go together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// The run would not be what its config says.
    Refuse(String),
    /// The run is what its config says, but probably not what its owner wants.
    Warn(String),
}

/// The facts of one policy that the check needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Side {
    /// Its name.
    pub name: String,
    /// Its capabilities: promises and needs.
    pub capabilities: Capabilities,
    /// True where it takes the server's step.
    pub steps: bool,
}

impl From<&Policy> for Side {
    fn from(policy: &Policy) -> Self {
        Self { name: policy.name.clone(), capabilities: policy.capabilities, steps: policy.steps() }
    }
}

/// Everything that is checked.
pub struct Pairs<'a> {
    /// The validated config.
    pub config: &'a Config,
    /// The policy of the download.
    pub download: Side,
    /// The policy of the upload.
    pub upload: Side,
    /// The policy that aggregates.
    pub aggregate: Side,
    /// True where error feedback is on, for the download and for the upload.
    pub feedback: [bool; 2],
    /// The smallest density of an upload.
    pub density: f64,
    /// Clients in the roster.
    pub clients: usize,
    /// Adapter values, `P`.
    pub values: usize,
}

/// Below this share of clients a round, what a client keeps from its last round is stale when it comes again.
const PARTICIPATION: f64 = 0.5;

/// Below this density, what is left out is too much to lose.
const SPARSE: f64 = 1.0 / 16.0;

impl Pairs<'_> {
    /// Checks every rule; findings in a fixed order.
    pub fn check(&self) -> Vec<Finding> {
        let rules = [
            self.feedback_against_momentum(),
            self.stale_memory(),
            self.lost_without_feedback(),
            self.other_layout(),
            self.exact_residual(),
            self.held_updates(),
        ];
        self.masked_sums().into_iter().chain(rules.into_iter().flatten()).collect()
    }

    /// Both add up what was left out before: the server overshoots.
    fn feedback_against_momentum(&self) -> Option<Finding> {
        let inertia = self.inertia()?;
        let keys = self.feedback.into_iter().zip(["download.error_feedback", "upload.error_feedback"]);
        let keys: Vec<&str> = keys.filter(|(on, _)| *on).map(|(_, key)| key).collect();
        warn(!keys.is_empty(), || {
            let keys = keys.join(" and ");
            format!("{keys} and {inertia} both repeat what was left out: fedavg suits error feedback")
        })
    }

    /// The part of the server's step that remembers earlier rounds, in words; none where nothing does.
    fn inertia(&self) -> Option<String> {
        let server = &self.config.server;
        match server.optimizer {
            _ if self.aggregate.steps => None,
            OptimizerKind::FedAvg => None,
            OptimizerKind::FedAvgM if server.momentum == 0.0 => None,
            OptimizerKind::FedAvgM => Some(format!("server.optimizer fedavgm with momentum {}", server.momentum)),
            OptimizerKind::FedAdam => Some("server.optimizer fedadam".into()),
            OptimizerKind::FedYogi => Some("server.optimizer fedyogi".into()),
            OptimizerKind::FedAdagrad => Some("server.optimizer fedadagrad".into()),
        }
    }

    fn stale_memory(&self) -> Option<Finding> {
        let cohort = self.config.server.cohort;
        let share = cohort as f64 / self.clients as f64;
        let who = match (self.feedback[1], self.upload.capabilities.stateful_client) {
            (true, _) => "upload.error_feedback".into(),
            (false, true) => format!("upload policy {}", self.upload.name),
            (false, false) => return None,
        };
        warn(share < PARTICIPATION, || {
            let clients = self.clients;
            format!(
                "{who} keeps something at each client, but server.cohort asks {cohort} of {clients} clients a round: with \
                 less than half of them what they keep grows stale"
            )
        })
    }

    fn lost_without_feedback(&self) -> Option<Finding> {
        let loses = self.upload.capabilities.gains_from_error_feedback && !self.feedback[1];
        warn(loses && self.density < SPARSE, || {
            // As the config has it: a single shows no digits that nobody wrote.
            let (name, density) = (&self.upload.name, self.density as f32);
            format!(
                "upload policy {name} loses what it leaves out, and the density is {density}, below {SPARSE}: \
                 upload.error_feedback carries it over"
            )
        })
    }

    fn other_layout(&self) -> Option<Finding> {
        let (down, up) = (&self.download, &self.upload);
        warn(down.capabilities.changes_layout && down.name != up.name, || {
            let (down, up) = (&down.name, &up.name);
            format!(
                "download policy {down} trains or sends a part of the adapter only, but the upload policy is {up}, which \
                 does not know which part"
            )
        })
    }

    fn exact_residual(&self) -> Option<Finding> {
        let server = &self.config.server;
        let exact = self.aggregate.steps || (self.inertia().is_none() && server.lr == 1.0);
        warn(self.config.lora.residual && !exact, || {
            let found = self.inertia().unwrap_or_else(|| format!("server.lr {}", server.lr));
            format!(
                "lora.residual makes aggregation exact only with server.optimizer fedavg and lr 1, not with {found}"
            )
        })
    }

    /// The updates that `holds-updates` will hold at once, against the limit.
    fn held_updates(&self) -> Option<Finding> {
        let (cohort, limit) = (self.config.server.cohort, self.config.limits.memory_mb);
        let bytes = 4 * cohort as u64 * self.values as u64;
        let allowed = u64::from(limit) << 20;
        if !self.aggregate.capabilities.holds_updates || bytes <= allowed / 2 {
            return None;
        }
        let (name, values) = (&self.aggregate.name, self.values);
        let text = format!(
            "aggregate policy {name} holds the updates of a whole cohort: {cohort} of {values} values are {} MiB, \
             limits.memory_mb is {limit}",
            bytes.div_ceil(1 << 20)
        );
        Some(if bytes > allowed { Finding::Refuse(text) } else { Finding::Warn(text) })
    }

    /// Under masks the server sees nothing but the sum of what clients sent.
    fn masked_sums(&self) -> Vec<Finding> {
        if !self.config.aggregate.secure {
            return Vec::new();
        }
        let (aggregate, upload) = (&self.aggregate, &self.upload);
        let mut findings = Vec::new();
        if !aggregate.capabilities.secure_aggregation_ok {
            let name = &aggregate.name;
            findings.push(format!("aggregate.secure is true, but aggregate policy {name} looks at single updates"));
        }
        if !upload.capabilities.linear {
            let why = match upload.capabilities.gains_from_error_feedback {
                true => "leaves out other values at each client",
                false => "is not linear",
            };
            let (up, sums) = (&upload.name, &aggregate.name);
            findings.push(format!(
                "aggregate.secure is true, but upload policy {up} {why}: aggregate policy {sums} would not be given the sum \
                 of what it sent"
            ));
        }
        if self.config.server.max_update_norm > 0.0 {
            let limit = self.config.server.max_update_norm;
            findings.push(format!(
                "aggregate.secure is true, but server.max_update_norm is {limit}: a masked update has no norm of its own"
            ));
        }
        findings.into_iter().map(Finding::Refuse).collect()
    }
}

/// The warnings of a run that may start.
///
/// # Errors
/// [`FederationError::Pairs`] with everything that is refused.
pub fn warnings(pairs: &Pairs) -> Result<Vec<String>, FederationError> {
    let (mut refused, mut warnings) = (Vec::new(), Vec::new());
    for finding in pairs.check() {
        match finding {
            Finding::Refuse(text) => refused.push(text),
            Finding::Warn(text) => warnings.push(text),
        }
    }
    if refused.is_empty() { Ok(warnings) } else { Err(FederationError::Pairs(refused.join("; "))) }
}

fn warn(holds: bool, text: impl FnOnce() -> String) -> Option<Finding> {
    holds.then(|| Finding::Warn(text()))
}

#[cfg(test)]
mod tests;
