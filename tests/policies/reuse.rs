//! Variables of a policy: the built-in ones keep nothing in them from one message to the next, to the bit; of any other
//! policy an instance never sees a second message.

use std::sync::{Arc, LazyLock};

use cellm::adapter::{AdapterLayout, Message, Role, TensorSpec};
use cellm::policy::{
    AggregatorInstance, CompressorInstance, Content, Context, Direction, Entries, LimitsConfig, Memory, Policy,
    PolicyConfig, PolicyError, PolicyHost, RoundMeta, UpdateMeta,
};

const CLIENTS: u32 = 3;
const ROUNDS: u32 = 4;

static HOST: LazyLock<PolicyHost> =
    LazyLock::new(|| PolicyHost::new(&LimitsConfig::default(), &PolicyConfig::default()).unwrap());

/// Two pairs and, where a policy needs them, a residual beside each.
fn layout(residuals: bool) -> Arc<AdapterLayout> {
    let mut specs = Vec::new();
    for layer in 0..2 {
        let name = |end: &str| format!("base_model.model.layers.{layer}.q_proj.{end}.weight");
        for (end, role, shape) in [("lora_A", Role::LoraA, [4, 16]), ("lora_B", Role::LoraB, [24, 4])] {
            specs.push(TensorSpec { name: name(end), role, shape: shape.into(), rank: 4, scale: 2.0, seed: layer });
        }
    }
    for layer in (0..2).filter(|_| residuals) {
        let name = TensorSpec::residual_name(&format!("layers.{layer}.q_proj"));
        specs.push(TensorSpec { name, role: Role::Base, shape: [24, 16].into(), rank: 0, scale: 1.0, seed: 0 });
    }
    Arc::new(AdapterLayout::new(specs))
}

/// Values that differ with the seed, of many magnitudes.
fn values(len: usize, seed: u32) -> Arc<Vec<f32>> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let mut draw = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 8) as f32 / (1 << 24) as f32 - 0.5
    };
    Arc::new((0..len).map(|_| draw().powi(3) * 1e-2).collect())
}

/// A step of a run, as far as it can be seen from outside; bits, so that NaN would be equal to itself.
#[derive(Debug, PartialEq)]
enum Seen {
    Sent(Option<Message>),
    Values(Vec<u32>),
    Planned(Option<Vec<u32>>),
    Failed(String),
}

fn seen<T>(result: Result<T, PolicyError>, what: impl FnOnce(T) -> Seen) -> Seen {
    result.map_or_else(|error| Seen::Failed(error.to_string()), what)
}

fn bits(values: &[f32]) -> Seen {
    Seen::Values(values.iter().map(|value| value.to_bits()).collect())
}

/// The instance for the next call: the one that there is, or a fresh one for each.
struct Source<'a, I> {
    make: &'a dyn Fn() -> I,
    reused: Option<I>,
}

impl<'a, I> Source<'a, I> {
    fn new(reuse: bool, make: &'a dyn Fn() -> I) -> Self {
        Self { make, reused: reuse.then(make) }
    }

    fn call<R>(&mut self, work: impl FnOnce(&mut I) -> R) -> R {
        match &mut self.reused {
            Some(instance) => work(instance),
            None => work(&mut (self.make)()),
        }
    }
}

fn keep(entries: &mut Arc<Entries>, memory: &Memory) {
    memory.written().apply(Arc::make_mut(entries));
}

/// The messages and values of both ends of one direction in some rounds with a few clients, one of whom is away every
/// other round.
fn traffic(
    reuse: bool,
    direction: Direction,
    layout: &AdapterLayout,
    make: &dyn Fn() -> CompressorInstance,
) -> Vec<Seen> {
    let (mut at_server, mut at_clients) = (Source::new(reuse, make), Source::new(reuse, make));
    let (mut server, mut clients) = (Arc::<Entries>::default(), vec![Arc::<Entries>::default(); CLIENTS as usize]);
    let (start, mut trace, mut last_seen) = (values(layout.values(), 99), Vec::new(), [None; CLIENTS as usize]);
    let down = direction == Direction::Download;
    let mut context = Context {
        direction,
        content: if down { Content::Weights } else { Content::Delta },
        round: 0,
        rounds: ROUNDS,
        seed: 5,
        client: None,
        tier: 0,
        density: 0.2,
        rank: 0,
        byte_budget: None,
        examples: if down { 0 } else { 32 },
        loss: None,
        last_seen: None,
    };
    for round in 1..=ROUNDS {
        context.round = round;
        let broadcast = down.then(|| {
            (context.client, context.last_seen) = (None, None);
            let mut memory = Memory::new(server.clone());
            let sent = at_server.call(|at| at.encode(&context, values(start.len(), round), start.clone(), &mut memory));
            keep(&mut server, &memory);
            sent
        });
        for client in (0..CLIENTS).filter(|client| (round + client) % 3 != 0) {
            let at = client as usize;
            let mut memory = Memory::new(clients[at].clone());
            let own = Context { client: Some(client), last_seen: last_seen[at], ..context };
            let message = match &broadcast {
                Some(Ok(broadcast)) => {
                    let mut at_servers = Memory::new(server.clone());
                    let caught_up = at_server.call(|at| at.encode_catch_up(&own, &mut at_servers));
                    keep(&mut server, &at_servers);
                    if let Ok(Some(message)) = &caught_up {
                        let taken = at_clients.call(|at| at.decode_catch_up(&own, message.clone(), &mut memory));
                        trace.push(seen(taken, |()| Seen::Sent(None)));
                    }
                    trace.push(seen(caught_up, Seen::Sent));
                    let received =
                        at_clients.call(|at| at.decode(&context, broadcast.clone(), start.clone(), &mut memory));
                    trace.push(seen(received, |received| bits(&received)));
                    Seen::Sent(Some(broadcast.clone()))
                }
                Some(Err(error)) => Seen::Failed(error.to_string()),
                None => {
                    let own = Context { loss: Some(3.0 / f64::from(round + client)), ..own };
                    let of = values(start.len(), 1000 * round + client);
                    let plan = at_clients.call(|at| at.plan(&own, of.clone(), start.clone(), &mut memory));
                    trace.push(seen(plan, Seen::Planned));
                    let sent = at_clients.call(|at| at.encode(&own, of, start.clone(), &mut memory));
                    if let Ok(message) = &sent {
                        let mut at_servers = Memory::new(server.clone());
                        let collected =
                            at_server.call(|at| at.decode(&own, message.clone(), start.clone(), &mut at_servers));
                        keep(&mut server, &at_servers);
                        trace.push(seen(collected, |collected| bits(&collected)));
                    }
                    let told = at_clients.call(|at| at.on_ack(&own, client != 1, &mut memory));
                    trace.push(seen(told, |()| Seen::Sent(None)));
                    seen(sent, |sent| Seen::Sent(Some(sent)))
                }
            };
            trace.push(message);
            last_seen[at] = Some(round);
            keep(&mut clients[at], &memory);
        }
    }
    trace
}

/// The rounds of an aggregator; before each but the first, one that is given up.
fn rounds(reuse: bool, layout: &AdapterLayout, steps: bool, make: &dyn Fn() -> AggregatorInstance) -> Vec<Seen> {
    let (mut source, mut trace) = (Source::new(reuse, make), Vec::new());
    let (mut server, base) = (Arc::<Entries>::default(), values(layout.values(), 7));
    let trained = 2 * (4 * 16 + 24 * 4);
    for number in 1..=ROUNDS {
        let round = RoundMeta { round: number, rounds: ROUNDS, seed: 5, cohort: 7 };
        let mut memory = Memory::new(server.clone());
        if reuse && number > 1 {
            let given_up = &mut Memory::new(server.clone());
            // What it refuses to begin it refuses again below.
            if source.call(|at| at.begin(&round, base.clone(), given_up)).is_ok() {
                source.call(|at| at.accept(values(base.len(), 1), &update(9, 1.0), given_up)).unwrap();
            }
        }
        source.call(|at| {
            if let Err(error) = at.begin(&round, base.clone(), &mut memory) {
                trace.push(Seen::Failed(error.to_string()));
                return;
            }
            for client in 0..7 {
                let mut given = values(base.len(), 100 * number + client).to_vec();
                given[trained..].fill(0.0);
                let done = at.accept(given.into(), &update(client, f64::from(client) + 0.5), &mut memory);
                trace.push(seen(done, |()| Seen::Values(Vec::new())));
            }
            let aggregate = at.finish(&mut memory);
            if let Some(aggregate) = aggregate.as_ref().ok().filter(|_| steps) {
                let stepped = at.step(number, base.clone(), aggregate.clone(), &mut memory);
                trace.push(seen(stepped, |stepped| bits(&stepped)));
            }
            trace.push(seen(aggregate, |aggregate| bits(&aggregate)));
        });
        keep(&mut server, &memory);
    }
    trace
}

fn update(client: u32, loss: f64) -> UpdateMeta {
    UpdateMeta { client, examples: 16 + u64::from(client), loss: Some(loss), norm: 1.0, tier: 0, rank: 0 }
}

/// The options that a policy takes one at a time, at the edges of what they accept, and none.
fn settings(policy: &Policy) -> Vec<String> {
    let edges = policy.option_edges();
    let one = edges.flat_map(|(name, values)| values.into_iter().map(move |value| format!("{name:?}:{value}")));
    std::iter::once(String::new()).chain(one.map(|option| format!(",{option}"))).collect()
}

#[test]
fn built_in_compressors_send_the_same_bits_with_one_instance_and_with_a_fresh_one_for_each_message() {
    let layout = layout(false);
    for policy in PolicyHost::builtin_names().map(|name| HOST.load(name).unwrap()) {
        assert!(policy.built_in);
        let mut compared = 0;
        for option in settings(&policy).iter().filter(|_| policy.is_compressor()) {
            for direction in [Direction::Download, Direction::Upload] {
                let options = |bits: u32| format!(r#"{{"direction":"{}","bits":{bits}{option}}}"#, direction.name());
                let takes = [16, 32, 2, 1].map(options);
                let Some(options) = takes.iter().find(|options| policy.compressor(&layout, options).is_ok()) else {
                    continue;
                };
                let make = || policy.compressor(&layout, options).unwrap();
                let one = traffic(true, direction, &layout, &make);
                let fresh = traffic(false, direction, &layout, &make);
                assert!(one == fresh, "{} {options}", policy.name);
                compared += usize::from(one.iter().any(|seen| matches!(seen, Seen::Sent(Some(_)))));
            }
        }
        assert!(compared > 0 || !policy.is_compressor(), "{} sent nothing", policy.name);
    }
}

#[test]
fn built_in_aggregators_give_the_same_bits_with_one_instance_and_with_a_fresh_one_for_each_round() {
    for policy in PolicyHost::builtin_names().map(|name| HOST.load(name).unwrap()) {
        let mut compared = 0;
        for option in settings(&policy).iter().filter(|_| policy.is_aggregator()) {
            let options = format!("{{{}}}", option.trim_start_matches(','));
            for layout in [layout(false), layout(true)] {
                if policy.aggregator(&layout, &options).is_err() {
                    continue;
                }
                let make = || policy.aggregator(&layout, &options).unwrap();
                let one = rounds(true, &layout, policy.steps(), &make);
                assert!(one == rounds(false, &layout, policy.steps(), &make), "{} {options}", policy.name);
                compared += usize::from(one.iter().any(|seen| matches!(seen, Seen::Values(_))));
            }
        }
        assert!(compared > 0 || !policy.is_aggregator(), "{} aggregated nothing", policy.name);
    }
}
