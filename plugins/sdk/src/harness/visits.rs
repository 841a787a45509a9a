//! Rounds of a policy that plans what clients train and lets them catch up: who is told what, and what it costs.
//!
//! Training is made up and stays within the plan; the server adds the mean of the decoded updates to its weights.

use super::{Adapter, Harness, Owner, Sent};
use crate::{CatchingUp, Compressor, Context, Part, Planning, PolicyError};

type CatchUp<P> = fn(&mut Harness<P>, u32, u32) -> Result<Option<Sent>, PolicyError>;

/// A federation, round by round.
#[derive(Debug)]
pub struct Visits<P> {
    /// Both directions and the memories.
    pub harness: Harness<P>,
    /// Layout and start.
    pub adapter: Adapter,
    /// The server's dense weights.
    pub weights: Vec<f32>,
    /// Rounds that are closed.
    pub round: u32,
    catch_up: Option<CatchUp<P>>,
}

/// One client's part in one round.
#[derive(Debug, Clone)]
pub struct Visit {
    /// The message that it was sent before the broadcast; none where it needed nothing.
    pub catch_up: Option<Load>,
    /// The values that it started from.
    pub received: Vec<f32>,
    /// The coordinates that it was allowed to train; none is all.
    pub trainable: Option<Vec<u32>>,
    /// The delta that it was to send.
    pub delta: Vec<f32>,
    /// The server's decoding of its upload.
    pub decoded: Vec<f32>,
    /// Its upload.
    pub upload: Load,
}

/// The contents of a message, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Load {
    /// Coordinates in its index sets.
    pub indices: u32,
    /// Values in its value parts.
    pub values: u32,
}

impl Load {
    /// Counts a message.
    pub fn of(sent: &Sent) -> Self {
        let mut load = Self::default();
        for part in &sent.parts {
            match part {
                Part::Indices(set) => load.indices += set.count(),
                Part::Values(_, values) => load.values += values.len() as u32,
                Part::Codes(_) | Part::Bytes(_) => {}
            }
        }
        load
    }
}

impl<P: Compressor> Visits<P> {
    /// From the start on; nobody catches up.
    pub fn new(adapter: Adapter, harness: Harness<P>) -> Self {
        Self { harness, weights: adapter.start.clone(), adapter, round: 0, catch_up: None }
    }

    /// The values that the server evaluates: the next broadcast, decoded with the server's own memory. Leaves no trace.
    pub fn evaluated(&mut self) -> Result<Vec<f32>, PolicyError> {
        let sent = self.harness.broadcast(self.round + 1, &self.weights)?;
        let seen = self.harness.decode(Owner::Server, &sent);
        self.harness.owners.roll_back(Owner::Server);
        seen
    }

    /// The decoding of a message of these parts, of the last round, by an owner. Leaves no trace.
    pub fn decoded(&mut self, owner: Owner, parts: Vec<Part>) -> Result<Vec<f32>, PolicyError> {
        let direction = if owner == Owner::Server { crate::Direction::Upload } else { crate::Direction::Download };
        let client = if let Owner::Client(client) = owner { client } else { 0 };
        let context: Context = self.harness.context(direction, self.round, Some(client));
        let decoded = self.harness.decode(owner, &Sent { context, parts, bytes: 0 });
        self.harness.owners.roll_back(owner);
        decoded
    }
}

impl<P: CatchingUp> Visits<P> {
    /// Lets newcomers and who missed rounds catch up.
    pub fn catching_up(self) -> Self {
        Self { catch_up: Some(Harness::catch_up_message), ..self }
    }
}

impl<P: Planning> Visits<P> {
    /// A round in which all updates are accepted: the broadcast and every visit.
    pub fn next(&mut self, cohort: &[u32]) -> Result<(Load, Vec<Visit>), PolicyError> {
        self.next_without(cohort, &[])
    }

    /// A round in which the updates of `lost` never arrive; their visits are not told of.
    pub fn next_without(&mut self, cohort: &[u32], lost: &[u32]) -> Result<(Load, Vec<Visit>), PolicyError> {
        self.round += 1;
        let broadcast = self.harness.broadcast(self.round, &self.weights)?;
        let (mut accepted, mut visits) = (Vec::new(), Vec::new());
        for client in cohort {
            let visit = self.visit(*client, &broadcast)?;
            if !lost.contains(client) {
                accepted.push(*client);
                visits.push(visit);
            }
        }
        for visit in &visits {
            cellm_kernels::axpy(&mut self.weights, 1.0 / visits.len() as f32, &visit.decoded);
        }
        self.harness.end_round(self.round, &accepted);
        Ok((Load::of(&broadcast), visits))
    }

    fn visit(&mut self, client: u32, broadcast: &Sent) -> Result<Visit, PolicyError> {
        let (round, harness) = (self.round, &mut self.harness);
        let catch_up = match self.catch_up {
            Some(catch_up) => catch_up(harness, round, client)?.map(|sent| Load::of(&sent)),
            None => None,
        };
        // A client decodes what was sent to all with a context of its own.
        let context = Context {
            seed: broadcast.context.seed,
            ..harness.context(broadcast.context.direction, round, Some(client))
        };
        let received = harness.receive(client, &Sent { context, ..broadcast.clone() })?;
        let trainable = harness.plan(round, client, &received)?;
        let mut delta = self.adapter.delta(u64::from(client) << 32 | u64::from(round), 1.0);
        if let Some(trainable) = &trainable {
            cellm_kernels::keep(&mut delta, trainable);
        }
        let sent = harness.upload(round, client, &delta)?;
        let decoded = harness.collect(&sent)?;
        Ok(Visit { catch_up, received, trainable, delta, decoded, upload: Load::of(&sent) })
    }
}
