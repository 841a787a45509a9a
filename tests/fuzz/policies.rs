//! Fuzzes what policies make of messages: a built-in policy decodes, catches up with and is acknowledged a message that nobody
//! encoded. A panic of the host, and a policy that breaks down over a message in place of refusing it, is a find.

#![no_main]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use cellm::adapter::{AdapterLayout, Message, Role, TensorSpec};
use cellm::policy::{
    CompressorInstance, Content, Context, Direction, LimitsConfig, Memory, PolicyConfig, PolicyError, PolicyHost,
};
use libfuzzer_sys::fuzz_target;

static LAYOUT: LazyLock<Arc<AdapterLayout>> = LazyLock::new(|| {
    let tensor = |name: &str, role, shape: [usize; 2]| {
        let name = format!("base_model.model.layers.0.q_proj.{name}.weight");
        TensorSpec { name, role, shape: shape.into(), rank: 2, scale: 1.0, seed: 3 }
    };
    Arc::new(AdapterLayout::new(vec![tensor("lora_A", Role::LoraA, [2, 6]), tensor("lora_B", Role::LoraB, [10, 2])]))
});

static HOST: LazyLock<PolicyHost> = LazyLock::new(|| {
    let limits = LimitsConfig { memory_mb: 64, deadline_ms: 5000, ..LimitsConfig::default() };
    PolicyHost::new(&limits, &PolicyConfig::default()).expect("a host")
});

/// The compressors among the built-in policies.
static NAMES: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    let compresses = |name: &&str| HOST.load(name).is_ok_and(|policy| policy.is_compressor());
    PolicyHost::builtin_names().filter(compresses).collect()
});

/// Bits that instances are made for; a policy takes those that it has.
const BITS: [u32; 8] = [1, 2, 3, 4, 8, 16, 32, 32];

type Warm = BTreeMap<(usize, usize, bool), Option<CompressorInstance>>;

std::thread_local! {
    static WARM: RefCell<Warm> = const { RefCell::new(BTreeMap::new()) };
}

/// One message to one policy; `choice` says which, and how it is called.
fn deliver(warm: &mut Warm, choice: [u8; 3], message: &Message) {
    let [policy, bits, flags] = choice;
    let direction = if flags & 1 == 0 { Direction::Upload } else { Direction::Download };
    let key = (usize::from(policy) % NAMES.len(), usize::from(bits) % BITS.len(), flags & 1 == 0);
    let instance = warm.entry(key).or_insert_with(|| {
        let options = format!(r#"{{"direction": "{}", "bits": {}}}"#, direction.name(), BITS[key.1]);
        HOST.load(NAMES[key.0]).expect("a built-in policy").compressor(&LAYOUT, &options).ok()
    });
    let Some(instance) = instance else { return };
    let context = Context {
        direction,
        content: match (direction, flags & 2) {
            (Direction::Upload, _) => Content::Delta,
            (_, 0) => Content::Weights,
            _ => Content::Difference,
        },
        round: 1 + u32::from(flags >> 4),
        rounds: 40,
        seed: 1,
        client: (flags & 4 == 0).then_some(3),
        tier: 0,
        density: [0.25, 0.5, 1.0, 0.03125][usize::from(bits >> 6)],
        rank: 0,
        byte_budget: None,
        examples: 7,
        loss: Some(1.5),
        last_seen: (flags & 8 == 0).then_some(1),
    };
    let start = LAYOUT.start().0;
    let mut memory = Memory::default();
    let done = |what: &str, done: Result<(), PolicyError>, poisoned: bool| {
        let name = NAMES[key.0];
        assert!(!poisoned, "{name} broke down in {what}: {done:?}, {context:?}, {message:?}");
        done.is_ok()
    };
    let caught = instance.decode_catch_up(&context, message.clone(), &mut memory);
    done("decode-catch-up", caught, instance.poisoned());
    let decoded = instance.decode(&context, message.clone(), start.clone(), &mut memory);
    let finite = decoded.as_ref().is_ok_and(|values| values.len() == LAYOUT.values());
    assert!(decoded.is_err() || finite, "a vector of another length");
    if done("decode", decoded.map(drop), instance.poisoned()) {
        let planned = instance.plan(&context, start.clone(), start, &mut memory).map(drop);
        done("plan", planned, instance.poisoned());
        let heard = instance.on_ack(&context, true, &mut memory);
        done("on-ack", heard, instance.poisoned());
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((choice, rest)) = data.split_first_chunk() else { return };
    let message = cellm_fuzz::message(rest, LAYOUT.values() as u32);
    WARM.with_borrow_mut(|warm| deliver(warm, *choice, &message));
});
