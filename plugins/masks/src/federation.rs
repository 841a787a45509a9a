//! A federation of one policy, natively, for tests: server, clients with their memories, whole rounds in memory.
//!
//! Training is made up: a number that depends on client, round and coordinate, added where the plan allows it.

use cellm_plugin::{
    CatchingUp, Compressor, Content, Context, Direction, IndexSet, Layout, Memory, Message, OptionKind, OptionValue,
    Options, Part, Planning, PolicyError, Role, Settings, TensorInfo, Vector,
};

type EncodeCatchUp<P> = fn(&mut P, &Context, &Message) -> Result<bool, PolicyError>;
type DecodeCatchUp<P> = fn(&mut P, &Context, &Message) -> Result<(), PolicyError>;

/// What a message costs, in things rather than bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// Coordinates in all index sets.
    pub indices: u32,
    /// Values in all value parts.
    pub values: u32,
}

impl Cost {
    fn of(message: &Message) -> Self {
        let mut cost = Self::default();
        for part in message.parts() {
            match part {
                Part::Indices(set) => cost.indices += set.count(),
                Part::Values(_, values) => cost.values += values.len() as u32,
                Part::Codes(_) | Part::Bytes(_) => {}
            }
        }
        cost
    }
}

/// What one client did in one round.
#[derive(Debug)]
pub struct Visit {
    /// What it was sent before the broadcast; none where it needed nothing.
    pub catch_up: Option<Cost>,
    /// What it started from.
    pub received: Vec<f32>,
    /// What it was allowed to train; none is all.
    pub trainable: Option<Vec<u32>>,
    /// What it was to send.
    pub delta: Vec<f32>,
    /// What the server made of its upload.
    pub decoded: Vec<f32>,
    /// Its upload.
    pub upload: Cost,
}

/// Server, clients and what they remember.
pub struct Federation<P> {
    down: P,
    up: P,
    catching_up: Option<(EncodeCatchUp<P>, DecodeCatchUp<P>)>,
    /// Start value of everything.
    pub start: Vec<f32>,
    /// The server's dense copy.
    pub weights: Vec<f32>,
    /// What the server remembers.
    pub server: Memory,
    /// What each client remembers.
    pub clients: Vec<Memory>,
    last_seen: Vec<Option<u32>>,
    /// Density of both directions.
    pub density: f64,
    /// The tier that all belong to.
    pub tier: u32,
    /// What downloads show.
    pub content: Content,
    /// Rounds that are closed.
    pub round: u32,
}

impl<P: Planning> Federation<P> {
    /// `clients` newcomers; options that are not named have their defaults.
    pub fn new(layout: &Layout, clients: usize, density: f64, options: &[(&str, OptionValue)]) -> Self {
        let start: Vec<f32> = start_of(layout);
        let make = |direction| match policy::<P>(layout, direction, 32, options) {
            Ok(policy) => policy,
            Err(error) => panic!("{error:?}"),
        };
        Self {
            down: make(Direction::Download),
            up: make(Direction::Upload),
            catching_up: None,
            weights: start.clone(),
            start,
            server: Memory::default(),
            clients: vec![Memory::default(); clients],
            last_seen: vec![None; clients],
            density,
            tier: 0,
            content: Content::Weights,
            round: 0,
        }
    }

    /// Lets newcomers and who missed rounds catch up.
    pub fn catching_up(mut self) -> Self
    where
        P: CatchingUp,
    {
        self.catching_up = Some((P::encode_catch_up, P::decode_catch_up));
        self
    }

    /// The context of a message of the round at hand.
    pub fn context(&self, direction: Direction, client: Option<usize>) -> Context {
        Context {
            direction,
            content: if direction == Direction::Upload { Content::Delta } else { self.content },
            round: self.round,
            rounds: 100,
            seed: 7,
            client: client.map(|client| client as u32),
            tier: self.tier,
            density: self.density,
            rank: 0,
            byte_budget: None,
            examples: 1,
            loss: None,
            last_seen: client.and_then(|client| self.last_seen[client]),
        }
    }

    /// A round in which all updates are accepted: the broadcast's cost and every visit.
    pub fn round(&mut self, cohort: &[usize]) -> Result<(Cost, Vec<Visit>), PolicyError> {
        self.round_without(cohort, &[])
    }

    /// A round in which the updates of `refused` are lost.
    pub fn round_without(&mut self, cohort: &[usize], refused: &[usize]) -> Result<(Cost, Vec<Visit>), PolicyError> {
        self.round += 1;
        let start = Vector::from_values(self.start.clone());
        let context = self.context(Direction::Download, None);
        let broadcast = Message::default();
        let weights = Vector::from_values(self.weights.clone());
        let down = &mut self.down;
        self.server.lend(|| down.encode(&context, &weights, &start, &broadcast))?;
        let cost = Cost::of(&broadcast);
        let mut visits = Vec::new();
        for client in cohort {
            let before = self.clients[*client].clone();
            visits.push(self.visit(*client, &broadcast.parts(), &start)?);
            if refused.contains(client) {
                self.clients[*client] = before;
                visits.pop();
            }
        }
        for visit in &visits {
            for (weight, change) in self.weights.iter_mut().zip(&visit.decoded) {
                *weight += change / visits.len() as f32;
            }
        }
        for client in cohort.iter().filter(|client| !refused.contains(client)) {
            self.last_seen[*client] = Some(self.round);
        }
        Ok((cost, visits))
    }

    fn visit(&mut self, client: usize, broadcast: &[Part], start: &Vector) -> Result<Visit, PolicyError> {
        let context = self.context(Direction::Download, Some(client));
        let catch_up = self.catch_up(client, &context)?;
        let message = Message::from_parts(broadcast.to_vec());
        let down = &mut self.down;
        let received = self.clients[client].lend(|| down.decode(&context, &message, start))?;
        assert!(message.parts().is_empty(), "{} parts of the broadcast left over", message.parts().len());
        let context = self.context(Direction::Upload, Some(client));
        let up = &mut self.up;
        let plan = self.clients[client].lend(|| up.plan(&context, &received.copy(), start))?;
        let trainable = plan.trainable.map(|at| at.read(0, at.count()));
        let delta = trained(client as u32, self.round, self.start.len() as u32, trainable.as_deref());
        let upload = Message::default();
        let values = Vector::from_values(delta.clone());
        self.clients[client].lend(|| up.encode(&context, &values, start, &upload))?;
        let cost = Cost::of(&upload);
        let decoded = self.server.lend(|| up.decode(&context, &upload, start))?.values();
        assert!(upload.parts().is_empty(), "{} parts of the upload left over", upload.parts().len());
        Ok(Visit { catch_up, received: received.values(), trainable, delta, decoded, upload: cost })
    }

    fn catch_up(&mut self, client: usize, context: &Context) -> Result<Option<Cost>, PolicyError> {
        let Some((encode, decode)) = self.catching_up else { return Ok(None) };
        let (message, down) = (Message::default(), &mut self.down);
        if !self.server.lend(|| encode(down, context, &message))? {
            return Ok(None);
        }
        let cost = Cost::of(&message);
        self.clients[client].lend(|| decode(down, context, &message))?;
        assert!(message.parts().is_empty(), "{} parts of the catch-up left over", message.parts().len());
        Ok(Some(cost))
    }

    /// What the server sees that decodes this broadcast with its own memory, to evaluate.
    pub fn evaluated(&mut self) -> Result<Vec<f32>, PolicyError> {
        self.round += 1;
        let start = Vector::from_values(self.start.clone());
        let (context, weights) = (self.context(Direction::Download, None), Vector::from_values(self.weights.clone()));
        let (message, down, mut memory) = (Message::default(), &mut self.down, self.server.clone());
        memory.lend(|| down.encode(&context, &weights, &start, &message))?;
        let seen = memory.lend(|| down.decode(&context, &message, &start))?;
        self.round -= 1;
        Ok(seen.values())
    }

    /// What the server makes of an upload of these parts.
    pub fn upload(&mut self, client: usize, parts: Vec<Part>) -> Result<Vec<f32>, PolicyError> {
        let context = self.context(Direction::Upload, Some(client));
        let start = Vector::from_values(self.start.clone());
        let (message, up) = (Message::from_parts(parts), &mut self.up);
        self.server.lend(|| up.decode(&context, &message, &start)).map(|values| values.values())
    }

    /// What a client makes of a download of these parts.
    pub fn download(&mut self, client: usize, parts: Vec<Part>) -> Result<Vec<f32>, PolicyError> {
        let context = self.context(Direction::Download, Some(client));
        let start = Vector::from_values(self.start.clone());
        let (message, down) = (Message::from_parts(parts), &mut self.down);
        self.clients[client].lend(|| down.decode(&context, &message, &start)).map(|values| values.values())
    }
}

/// A policy for one direction with the options named, the others at their defaults.
pub fn policy<P: Compressor>(
    layout: &Layout,
    direction: Direction,
    bits: u32,
    options: &[(&str, OptionValue)],
) -> Result<P, PolicyError> {
    let chosen = |declared: &str| options.iter().find(|(name, _)| *name == declared).map(|(_, value)| value.clone());
    let all = P::describe().options.into_iter().map(|option| {
        let value = chosen(&option.name).unwrap_or(option.default);
        if let (OptionKind::Choice(words), OptionValue::Text(word)) = (&option.kind, &value) {
            assert!(words.contains(word), "{word} is none of {words:?}");
        }
        (option.name, value)
    });
    P::new(layout.clone(), Settings { direction, bits }, &Options::new(all.collect()))
}

/// LoRA pairs of these sizes, each `(rank, in, out)`, and a head of `head` values.
pub fn layout(pairs: &[(u32, u32, u32)], head: u32) -> Layout {
    let (mut tensors, mut offset) = (Vec::new(), 0);
    let mut add = |name: String, role, shape: Vec<u32>, rank| {
        let len = shape.iter().product();
        tensors.push(TensorInfo { name, role, shape, rank, scale: 1.0, seed: 1, offset, len });
        offset += len;
    };
    for (number, (rank, inputs, outputs)) in pairs.iter().enumerate() {
        add(format!("layers.{number}.lora_A.weight"), Role::LoraA, vec![*rank, *inputs], *rank);
        add(format!("layers.{number}.lora_B.weight"), Role::LoraB, vec![*outputs, *rank], *rank);
    }
    if head > 0 {
        add("head.weight".into(), Role::Head, vec![head], 0);
    }
    Layout { tensors, values: offset }
}

/// A is seeded, the rest is zero.
fn start_of(layout: &Layout) -> Vec<f32> {
    let mut start = vec![0.0; layout.values as usize];
    for tensor in layout.tensors.iter().filter(|tensor| tensor.role == Role::LoraA) {
        let draws = Vector::random_normal(tensor.len, tensor.seed, tensor.offset.into()).values();
        start[tensor.offset as usize..(tensor.offset + tensor.len) as usize].copy_from_slice(&draws);
    }
    start
}

fn trained(client: u32, round: u32, values: u32, trainable: Option<&[u32]>) -> Vec<f32> {
    let delta = Vector::random_normal(values, 3, u64::from(client) << 32 | u64::from(round));
    delta.scale(0.1);
    if let Some(Ok(at)) = trainable.map(|at| IndexSet::from_list(values, at)) {
        delta.keep(&at);
    }
    delta.values()
}
