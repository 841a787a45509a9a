//! An aggregator under test, with the server's memory.

use super::options::checked_options;
use super::{Adapter, Owner, Owners};
use crate::{Aggregator, OptionValue, PolicyError, RoundInfo, Stepping, UpdateInfo, Vector};

/// The facts of an update in a test: its client; 32 examples, a loss of 2, the whole rank.
pub fn update_info(client: u32, update: &[f32]) -> UpdateInfo {
    UpdateInfo { client, examples: 32, loss: Some(2.0), norm: cellm_kernels::norm(update), tier: 0, rank: 0 }
}

/// Updates of the clients 0, 1, ..., normal draws each.
pub fn normal_updates(clients: u32, values: u32, seed: u64) -> Vec<(Vec<f32>, UpdateInfo)> {
    let update = |client: u32| cellm_kernels::random_normal(values as usize, seed, client.into());
    (0..clients).map(|client| (update(client), update_info(client, &update(client)))).collect()
}

/// True where both have one length and differ nowhere by more than `most`.
pub fn near(one: &[f32], other: &[f32], most: f32) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| (one - other).abs() <= most)
}

/// An aggregator and what the server remembers for it.
#[derive(Debug)]
pub struct Aggregation<A> {
    policy: A,
    values: usize,
    /// The server's memory is kept when a whole round went well.
    pub owners: Owners,
    /// Number of rounds of the run.
    pub rounds: u32,
    /// The run's seed.
    pub seed: u64,
    /// The clients whose updates the policy refused in the last round.
    pub refused: Vec<u32>,
}

impl<A: Aggregator> Aggregation<A> {
    /// With these options; the rest has its defaults.
    pub fn new(adapter: &Adapter, options: &[(&str, OptionValue)]) -> Result<Self, PolicyError> {
        let options = checked_options(&A::describe(), options);
        let policy = A::new(adapter.layout.clone(), &options)?;
        Ok(Self {
            policy,
            values: adapter.start.len(),
            owners: Owners::default(),
            rounds: 100,
            seed: 7,
            refused: Vec::new(),
        })
    }

    /// `begin`, `accept` for each, `finish`: the aggregated delta. What `accept` refuses is left out, as the engine does.
    pub fn round(
        &mut self,
        round: u32,
        base: &[f32],
        updates: &[(Vec<f32>, UpdateInfo)],
    ) -> Result<Vec<f32>, PolicyError> {
        let result = self.gather(round, base, updates);
        match result {
            Ok(_) => self.owners.keep(Owner::Server),
            Err(_) => self.owners.roll_back(Owner::Server),
        }
        result
    }

    fn gather(
        &mut self,
        round: u32,
        base: &[f32],
        updates: &[(Vec<f32>, UpdateInfo)],
    ) -> Result<Vec<f32>, PolicyError> {
        let Self { policy, owners, refused, .. } = self;
        refused.clear();
        let seed = self.seed ^ u64::from(round) << 32;
        let info = RoundInfo { round, rounds: self.rounds, seed, cohort: updates.len() as u32 };
        let base = Vector::from_values(base.to_vec());
        owners.lend(Owner::Server, || policy.begin(&info, &base))?;
        for (update, info) in updates {
            let update = Vector::from_values(update.clone());
            if owners.lend(Owner::Server, || policy.accept(&update, info)).is_err() {
                refused.push(info.client);
            }
        }
        let aggregate = owners.lend(Owner::Server, || policy.finish())?.values();
        if aggregate.len() != self.values {
            return Err(PolicyError::Other(format!("{} values finished, {} expected", aggregate.len(), self.values)));
        }
        Ok(aggregate)
    }
}

impl<A: Stepping> Aggregation<A> {
    /// The new dense weights.
    pub fn step(&mut self, round: u32, weights: &[f32], aggregate: &[f32]) -> Result<Vec<f32>, PolicyError> {
        let (weights, aggregate) = (Vector::from_values(weights.to_vec()), Vector::from_values(aggregate.to_vec()));
        let policy = &mut self.policy;
        let stepped = self.owners.lend(Owner::Server, || policy.step(round, &weights, &aggregate))?;
        self.owners.keep(Owner::Server);
        Ok(stepped.values())
    }
}
