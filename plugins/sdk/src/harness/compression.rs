//! A compressor under test: both directions of a run, the memories of its clients and its server, its messages.

use std::collections::BTreeMap;

use super::options::checked_options;
use super::{Adapter, Owner, Owners, wire_bytes};
use crate::{
    Acknowledging, CatchingUp, Compressor, Content, Context, Direction, Memory, Message, OptionValue, Outcome, Part,
    Planning, PolicyError, Settings, Vector,
};

/// A message on its way.
#[derive(Debug, Clone)]
pub struct Sent {
    /// The context of its encoder, and of its decoder.
    pub context: Context,
    /// Its parts.
    pub parts: Vec<Part>,
    /// Bytes of its frame.
    pub bytes: u64,
}

/// A compressor in both directions. Hooks see the memory of the owner whose turn it is; [`Harness::end_round`] says whose
/// writes are kept.
#[derive(Debug)]
pub struct Harness<P> {
    start: Vec<f32>,
    down: Result<P, PolicyError>,
    up: Result<P, PolicyError>,
    /// The memories of server and clients.
    pub owners: Owners,
    last_seen: BTreeMap<u32, u32>,
    /// Of messages from now on.
    pub density: f64,
    /// Content of a broadcast: weights unless said otherwise.
    pub download: Content,
    /// Number of rounds of the run.
    pub rounds: u32,
    /// The run's seed.
    pub seed: u64,
    /// A change of each context before it is used: tiers, budgets, losses.
    pub adjust: fn(&mut Context),
}

impl<P: Compressor> Harness<P> {
    /// One instance for each direction. An error when the policy refuses both; a direction that it refuses fails when used.
    pub fn new(adapter: &Adapter, bits: u32, options: &[(&str, OptionValue)]) -> Result<Self, PolicyError> {
        let options = checked_options(&P::describe(), options);
        let make = |direction| P::new(adapter.layout.clone(), Settings { direction, bits }, &options);
        let (down, up) = (make(Direction::Download), make(Direction::Upload));
        if let (Err(refused), Err(_)) = (&down, &up) {
            return Err(refused.clone());
        }
        Ok(Self {
            start: adapter.start.clone(),
            down,
            up,
            owners: Owners::default(),
            last_seen: BTreeMap::new(),
            density: 1.0,
            download: Content::Weights,
            rounds: 100,
            seed: 7,
            adjust: |_| {},
        })
    }

    /// The instance that serves a direction.
    pub fn policy(&mut self, direction: Direction) -> Result<&mut P, PolicyError> {
        let instance = if direction == Direction::Download { &mut self.down } else { &mut self.up };
        instance.as_mut().map_err(|refused| refused.clone())
    }

    /// The context of a message of this round; a broadcast has no client.
    pub fn context(&self, direction: Direction, round: u32, client: Option<u32>) -> Context {
        let up = direction == Direction::Upload;
        let words = cellm_kernels::random_bits(
            self.seed,
            u64::from(round) * 2 + u64::from(up),
            u64::from(client.map_or(0, |client| client + 1)) * 2,
            2,
        );
        let mut context = Context {
            direction,
            content: if up { Content::Delta } else { self.download },
            round,
            rounds: self.rounds,
            seed: u64::from(words[0]) << 32 | u64::from(words[1]),
            client,
            tier: 0,
            density: self.density,
            rank: 0,
            byte_budget: None,
            examples: if up { 32 } else { 0 },
            loss: up.then(|| 4.0 / f64::from(round.max(1)).sqrt()),
            last_seen: client.and_then(|client| self.last_seen.get(&client).copied()),
        };
        (self.adjust)(&mut context);
        context
    }

    /// Runs a hook of the instance that serves the context's direction, with the memory of `owner`.
    fn hook<T>(
        &mut self,
        owner: Owner,
        context: &Context,
        work: impl FnOnce(&mut P, &Vector) -> Result<T, PolicyError>,
    ) -> Result<T, PolicyError> {
        let instance = if context.direction == Direction::Download { &mut self.down } else { &mut self.up };
        let policy = instance.as_mut().map_err(|refused| refused.clone())?;
        let start = Vector::from_values(self.start.clone());
        self.owners.lend(owner, || work(policy, &start))
    }

    /// Encodes with the memory of `owner`.
    pub fn encode(&mut self, owner: Owner, context: &Context, values: &[f32]) -> Result<Sent, PolicyError> {
        let message = Message::default();
        let values = Vector::from_values(values.to_vec());
        self.hook(owner, context, |policy, start| policy.encode(context, &values, start, &message))?;
        let parts = message.parts();
        Ok(Sent { context: *context, bytes: wire_bytes(&parts), parts })
    }

    /// Decodes with the memory of `owner`. As in the engine, parts left over and another length are errors.
    pub fn decode(&mut self, owner: Owner, sent: &Sent) -> Result<Vec<f32>, PolicyError> {
        let message = Message::from_parts(sent.parts.clone());
        let expected = self.start.len();
        self.hook(owner, &sent.context, |policy, start| {
            let values = policy.decode(&sent.context, &message, start)?.values();
            match message.parts().len() {
                0 if values.len() == expected => Ok(values),
                0 => Err(PolicyError::Other(format!("{} values decoded, {expected} expected", values.len()))),
                left => Err(PolicyError::BadMessage(format!("{left} parts left over"))),
            }
        })
    }

    /// The server encodes the broadcast of a round.
    pub fn broadcast(&mut self, round: u32, values: &[f32]) -> Result<Sent, PolicyError> {
        let context = self.context(Direction::Download, round, None);
        self.encode(Owner::Server, &context, values)
    }

    /// A client decodes a broadcast.
    pub fn receive(&mut self, client: u32, sent: &Sent) -> Result<Vec<f32>, PolicyError> {
        self.decode(Owner::Client(client), sent)
    }

    /// A client encodes its delta.
    pub fn upload(&mut self, round: u32, client: u32, delta: &[f32]) -> Result<Sent, PolicyError> {
        let context = self.context(Direction::Upload, round, Some(client));
        self.encode(Owner::Client(client), &context, delta)
    }

    /// The server decodes an upload.
    pub fn collect(&mut self, sent: &Sent) -> Result<Vec<f32>, PolicyError> {
        self.decode(Owner::Server, sent)
    }

    /// Ends a round with the updates of these clients in it: their writes and the server's are kept, the writes of everyone
    /// else are forgotten. Call it before the next round, or a lost client would still remember.
    pub fn end_round(&mut self, round: u32, accepted: &[u32]) {
        self.owners.keep(Owner::Server);
        for client in accepted {
            self.owners.keep(Owner::Client(*client));
            self.last_seen.insert(*client, round);
        }
        self.owners.roll_back_all();
    }

    /// The memory of an owner.
    pub fn memory(&self, owner: Owner) -> Memory {
        self.owners.of(owner)
    }
}

impl<P: Planning> Harness<P> {
    /// The coordinates that a client may train, of what it received; none where it may train all.
    pub fn plan(&mut self, round: u32, client: u32, received: &[f32]) -> Result<Option<Vec<u32>>, PolicyError> {
        let context = self.context(Direction::Upload, round, Some(client));
        let received = Vector::from_values(received.to_vec());
        self.hook(Owner::Client(client), &context, |policy, start| {
            let plan = policy.plan(&context, &received, start)?;
            Ok(plan.trainable.map(|set| set.read(0, set.count())))
        })
    }
}

impl<P: Acknowledging> Harness<P> {
    /// Tells a client how its upload ended. Call it after the round's end: it sees the memory as that leaves it.
    pub fn acknowledge(&mut self, round: u32, client: u32, outcome: Outcome) -> Result<(), PolicyError> {
        let context = self.context(Direction::Upload, round, Some(client));
        self.hook(Owner::Client(client), &context, |policy, _| {
            policy.on_ack(&context, outcome);
            Ok(())
        })?;
        self.owners.keep(Owner::Client(client));
        Ok(())
    }
}

impl<P: CatchingUp> Harness<P> {
    /// Before the broadcast of a round: the server encodes what a client needs and the client takes it. Gives the bytes that
    /// it cost; none where the client needs nothing.
    pub fn catch_up(&mut self, round: u32, client: u32) -> Result<Option<u64>, PolicyError> {
        Ok(self.catch_up_message(round, client)?.map(|sent| sent.bytes))
    }

    /// The same, and gives what was sent.
    pub fn catch_up_message(&mut self, round: u32, client: u32) -> Result<Option<Sent>, PolicyError> {
        let context = self.context(Direction::Download, round, Some(client));
        self.bring_up(&context, Owner::Client(client))
    }

    /// The values that the engine evaluates, and makes the run's adapter of: the broadcast as a receiver without a
    /// number and without a memory decodes it. Leaves no trace.
    pub fn shown(&mut self, round: u32, weights: &[f32]) -> Result<Vec<f32>, PolicyError> {
        let nobody = Owner::Client(u32::MAX);
        let broadcast = self.broadcast(round, weights)?;
        self.bring_up(&broadcast.context, nobody)?;
        let shown = self.decode(nobody, &broadcast);
        [nobody, Owner::Server].into_iter().for_each(|owner| self.owners.roll_back(owner));
        shown
    }

    fn bring_up(&mut self, context: &Context, receiver: Owner) -> Result<Option<Sent>, PolicyError> {
        let message = Message::default();
        if !self.hook(Owner::Server, context, |policy, _| policy.encode_catch_up(context, &message))? {
            return Ok(None);
        }
        let parts = message.parts();
        let sent = Sent { context: *context, bytes: wire_bytes(&parts), parts };
        self.take_catch_up(receiver, &sent)?;
        Ok(Some(sent))
    }

    /// A client takes what brings it up. As in the engine, parts left over are an error.
    pub fn take_catch_up(&mut self, receiver: Owner, sent: &Sent) -> Result<(), PolicyError> {
        let message = Message::from_parts(sent.parts.clone());
        self.hook(receiver, &sent.context, |policy, _| {
            policy.decode_catch_up(&sent.context, &message)?;
            match message.parts().len() {
                0 => Ok(()),
                left => Err(PolicyError::BadMessage(format!("{left} parts left over"))),
            }
        })
    }
}
