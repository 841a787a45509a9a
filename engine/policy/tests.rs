//! The host and the first-party policies together, as the engine uses them: through real components.

use std::sync::{Arc, LazyLock};

use rand_core::Rng;

use super::*;
use crate::adapter::{AdapterLayout, Message, Part, Role, TensorSpec, ValueCoding};
use crate::random::{self, Purpose};

/// One for all tests: starting one takes a while.
static HOST: LazyLock<PolicyHost> = LazyLock::new(|| host(&LimitsConfig::default()));

pub(super) fn host(limits: &LimitsConfig) -> PolicyHost {
    PolicyHost::new(limits, &PolicyConfig::default()).unwrap()
}

pub(super) fn layout(values: usize) -> Arc<AdapterLayout> {
    let tensor = |name: &str, role, len| TensorSpec {
        name: name.into(),
        role,
        shape: vec![1, len],
        rank: 1,
        scale: 1.0,
        seed: 3,
    };
    let half = values / 2;
    Arc::new(AdapterLayout::new(vec![tensor("a", Role::LoraA, half), tensor("b", Role::LoraB, values - half)]))
}

pub(super) fn context(direction: Direction, round: u32) -> Context {
    Context {
        direction,
        content: match direction {
            Direction::Download => Content::Weights,
            Direction::Upload => Content::Delta,
        },
        round,
        rounds: 40,
        seed: 1,
        client: None,
        tier: 0,
        density: 1.0,
        rank: 0,
        byte_budget: None,
        examples: 0,
        loss: None,
        last_seen: None,
    }
}

fn kept(share: f64, direction: Direction, round: u32) -> Context {
    Context { density: share, ..context(direction, round) }
}

fn values(len: usize) -> Vec<f32> {
    let mut stream = random::stream(9, Purpose::NoopDelta, 0, 0);
    (0..len).map(|_| (stream.next_u32() as f32 / u32::MAX as f32) - 0.5).collect()
}

fn compressor(policy: &str, len: usize, options: &str) -> Result<CompressorInstance, PolicyError> {
    HOST.load(policy)?.compressor(&layout(len), options)
}

fn round_trip(policy: &str, options: &str, ctx: &Context, of: &[f32]) -> (Message, Vec<f32>) {
    let start = layout(of.len()).start().0;
    let mut instance = compressor(policy, of.len(), options).unwrap();
    let message = instance.encode(ctx, Arc::new(of.to_vec()), start.clone(), &mut Memory::default()).unwrap();
    let mut receiver = compressor(policy, of.len(), options).unwrap();
    let decoded = receiver.decode(ctx, message.clone(), start, &mut Memory::default()).unwrap();
    (message, decoded.to_vec())
}

#[test]
fn built_in_policies_describe_themselves() {
    for name in PolicyHost::builtin_names() {
        let policy = HOST.load(name).unwrap();
        assert_eq!(policy.name, name);
        assert_eq!(policy.version, env!("CARGO_PKG_VERSION"));
        assert!(policy.is_compressor() || policy.is_aggregator());
        assert!(!policy.about.is_empty(), "{name}");
    }
    assert_ne!(HOST.load("dense").unwrap().hash, HOST.load("flasc").unwrap().hash);
}

#[test]
fn instances_move_between_threads_and_policies_are_shared() {
    fn moves<T: Send>() {}
    fn shared<T: Send + Sync>() {}
    moves::<CompressorInstance>();
    moves::<AggregatorInstance>();
    shared::<PolicyHost>();
    shared::<Policy>();
}

#[test]
fn dense_sends_everything_and_gives_it_back() {
    let of = values(1000);
    let (message, decoded) = round_trip("dense", r#"{"bits":32}"#, &kept(0.1, Direction::Upload, 1), &of);
    assert_eq!(message.parts, [Part::Values { coding: ValueCoding::F32, values: of.clone().into() }]);
    assert_eq!(decoded, of);
}

#[test]
fn dense_takes_its_coding_from_bits_and_the_option_wins() {
    let coding = |options: &str| {
        let (message, _) = round_trip("dense", options, &context(Direction::Upload, 1), &values(8));
        match message.parts.as_slice() {
            [Part::Values { coding, .. }] => *coding,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(coding(r#"{"bits":16}"#), ValueCoding::F16);
    assert_eq!(coding(r#"{"bits":16,"values":"f32"}"#), ValueCoding::F32);
    assert_eq!(coding(r#"{"values":"bf16"}"#), ValueCoding::Bf16);
}

#[test]
fn flasc_uploads_the_largest_values_and_the_rest_is_zero() {
    let of = values(1000);
    let (message, decoded) =
        round_trip("flasc", r#"{"direction":"upload","bits":32}"#, &kept(0.0625, Direction::Upload, 1), &of);
    let [Part::Indices { space: 1000, indices }, Part::Values { coding: ValueCoding::F32, values: sent }] =
        message.parts.as_slice()
    else {
        panic!("{message:?}")
    };
    assert_eq!((indices.len(), sent.len()), (62, 62));
    let least = sent.iter().map(|value| value.abs()).fold(f32::INFINITY, f32::min);
    for (index, (value, got)) in of.iter().zip(&decoded).enumerate() {
        let chosen = indices.binary_search(&(index as u32)).is_ok();
        assert!(chosen || value.abs() <= least);
        assert_eq!(*got, if chosen { *value } else { 0.0 });
    }
}

#[test]
fn flasc_with_the_seeded_reference_falls_back_to_the_start_on_downloads_only() {
    let start = layout(1000).start().0;
    let mut of = start.to_vec();
    for moved in [3, 400, 999] {
        of[moved] += 1.0;
    }
    let options = |direction: &str| format!(r#"{{"direction":"{direction}","bits":32,"reference":"seeded"}}"#);
    let (_, decoded) = round_trip("flasc", &options("download"), &kept(0.003, Direction::Download, 1), &of);
    assert_eq!(decoded, of, "three coordinates moved and three were sent");
    let (_, upload) = round_trip("flasc", &options("upload"), &kept(0.003, Direction::Upload, 1), &of);
    assert_eq!(upload.iter().filter(|value| **value != 0.0).count(), 3);
}

#[test]
fn flasc_at_density_one_sends_no_indices_and_decays_afterwards() {
    let of = values(1000);
    let options = r#"{"decay":0.5,"decay_every":10}"#;
    let (message, decoded) = round_trip("flasc", options, &context(Direction::Upload, 10), &of);
    assert_eq!((message.parts.len(), decoded), (1, of.clone()));
    let (message, _) = round_trip("flasc", options, &context(Direction::Upload, 11), &of);
    assert!(matches!(&message.parts[0], Part::Indices { indices, .. } if indices.len() == 500));
}

#[test]
fn zeros_are_sent_too_and_one_value_at_least() {
    let (message, decoded) = round_trip("flasc", "{}", &kept(1e-6, Direction::Upload, 1), &[0.0; 64]);
    assert!(matches!(&message.parts[0], Part::Indices { indices, .. } if indices == &[0]));
    assert_eq!(decoded, [0.0; 64]);
}

fn refused_option(options: &str) -> (String, String, String) {
    match compressor("flasc", 8, options).err() {
        Some(PolicyError::Option { option, found, allowed, .. }) => (option, found, allowed),
        other => panic!("{options}: {other:?}"),
    }
}

#[test]
fn bad_options_are_named_with_what_was_found_and_what_is_allowed() {
    for decay in ["0", "-0.5", "1.5", "\"much\"", "null"] {
        let (option, found, allowed) = refused_option(&format!(r#"{{"decay":{decay}}}"#));
        assert_eq!((option.as_str(), found.as_str()), ("decay", decay));
        assert_eq!(allowed, "a number above 0 and at most 1");
    }
    assert_eq!(refused_option(r#"{"decay_every":-1}"#).0, "decay_every");
    assert_eq!(refused_option(r#"{"reference":"none"}"#).2, "one of seeded, zero");
    assert_eq!(refused_option("[]").2, "an object");
    assert_eq!(refused_option("{").2, "an object");
}

#[test]
fn an_unknown_option_is_named_with_the_one_that_was_meant() {
    let refused = |options: &str| compressor("flasc", 8, options).err().unwrap().to_string();
    assert_eq!(
        refused(r#"{"dekay":0.5}"#),
        "policy flasc has no option dekay (given: 0.5), did you mean decay; it has decay, decay_every, reference, values"
    );
    assert!(refused(r#"{"q":1}"#).contains("no option q (given: 1); it has decay"), "nothing looks like it");
    let dense = compressor("dense", 8, r#"{"times":3}"#).err().unwrap().to_string();
    assert!(dense.ends_with("no option times (given: 3); it has values, stochastic"), "{dense}");
}

#[test]
fn bits_are_named_by_the_key_that_sets_them() {
    for (direction, key) in [("upload", "upload.bits"), ("download", "download.bits")] {
        let options = format!(r#"{{"bits":8,"direction":"{direction}"}}"#);
        let error = compressor("flasc", 8, &options).err().unwrap();
        assert!(error.is_typed());
        assert_eq!(error.to_string(), format!("policy flasc: {key} is 8, allowed: 16 or 32"));
    }
}

fn meta(client: u32, examples: u64) -> UpdateMeta {
    UpdateMeta { client, examples, loss: Some(1.0), norm: 1.0, tier: 0, rank: 0 }
}

fn round(number: u32) -> RoundMeta {
    RoundMeta { round: number, rounds: 40, seed: 1, cohort: 2 }
}

/// A mean over `len` values and the memory that all its hooks share.
struct Mean(AggregatorInstance, Memory, Arc<Vec<f32>>);

impl Mean {
    fn new(len: usize, options: &str) -> Self {
        let instance = HOST.load("fedavg").unwrap().aggregator(&layout(len), options).unwrap();
        Self(instance, Memory::default(), Arc::new(vec![0.0; len]))
    }

    fn begin(&mut self, number: u32) {
        self.0.begin(&round(number), self.2.clone(), &mut self.1).unwrap();
    }

    fn accept(&mut self, update: Vec<f32>, meta: &UpdateMeta) {
        self.0.accept(update.into(), meta, &mut self.1).unwrap();
    }

    fn finish(&mut self) -> Result<Vec<f32>, PolicyError> {
        self.0.finish(&mut self.1).map(|mean| mean.to_vec())
    }
}

#[test]
fn fedavg_is_the_mean_and_a_round_leaves_nothing() {
    let mut mean = Mean::new(4, "{}");
    for number in 1..3 {
        mean.begin(number);
        mean.accept(vec![1.0, 2.0, 3.0, 4.0], &meta(0, 1));
        mean.accept(vec![3.0, 2.0, 1.0, 0.0], &meta(1, 3));
        assert_eq!(mean.finish().unwrap(), [2.0; 4]);
    }
}

#[test]
fn fedavg_weighs_by_examples_if_asked() {
    let mut mean = Mean::new(2, r#"{"weighting":"examples"}"#);
    mean.begin(1);
    mean.accept(vec![1.0, 0.0], &meta(0, 1));
    mean.accept(vec![5.0, 4.0], &meta(1, 3));
    assert_eq!(mean.finish().unwrap(), [4.0, 3.0]);
}

#[test]
fn fedavg_without_updates_is_a_typed_error_and_stays_usable() {
    let mut mean = Mean::new(2, "{}");
    mean.begin(1);
    assert!(matches!(mean.finish(), Err(PolicyError::NoUpdates { .. })));
    assert!(!mean.0.poisoned());
    mean.begin(2);
    mean.accept(vec![1.0, 2.0], &meta(0, 1));
    assert_eq!(mean.finish().unwrap(), [1.0, 2.0]);
}

#[test]
fn optional_hooks_that_a_policy_does_not_have_do_nothing() {
    let mut dense = compressor("dense", 8, "{}").unwrap();
    let policy = dense.policy().clone();
    assert!(!policy.plans() && !policy.acknowledges() && !policy.catches_up() && !policy.steps());
    let (values, ctx) = (Arc::new(vec![0.0; 8]), context(Direction::Upload, 1));
    let memory = &mut Memory::default();
    assert_eq!(dense.plan(&ctx, values.clone(), values, memory).unwrap(), None);
    dense.on_ack(&ctx, true, memory).unwrap();
    assert_eq!(dense.encode_catch_up(&ctx, memory).unwrap(), None);
    dense.decode_catch_up(&ctx, Message::default(), memory).unwrap();
    assert!(memory.written().is_empty());
}

#[test]
fn hostile_messages_are_refused_and_the_instance_stays_usable() {
    let mut flasc = compressor("flasc", 100, "{}").unwrap();
    let start = layout(100).start().0;
    let ctx = kept(0.02, Direction::Upload, 1);
    let indices = |space, indices: &[u32]| Part::Indices { space, indices: indices.into() };
    let sent = |values: &[f32]| Part::Values { coding: ValueCoding::F32, values: values.to_vec().into() };
    let bad: [Vec<Part>; 9] = [
        vec![],
        vec![indices(100, &[1, 100]), sent(&[1.0, 2.0])],
        vec![indices(100, &[2, 1]), sent(&[1.0, 2.0])],
        vec![indices(100, &[1, 1]), sent(&[1.0, 2.0])],
        vec![indices(u32::MAX, &[1, 2]), sent(&[1.0, 2.0])],
        vec![indices(100, &[1, 2, 3]), sent(&[1.0, 2.0, 3.0])],
        vec![indices(100, &[1, 2]), sent(&[1.0])],
        vec![Part::Bytes(vec![1, 2, 3])],
        vec![indices(100, &[1, 2]), sent(&[1.0, 2.0]), sent(&[3.0])],
    ];
    for parts in bad {
        let refused = flasc.decode(&ctx, Message { parts: parts.clone() }, start.clone(), &mut Memory::default());
        assert!(matches!(refused, Err(PolicyError::Rejected { .. } | PolicyError::LeftOver { .. })), "{parts:?}");
        assert!(!flasc.poisoned());
    }
    let good = Message { parts: vec![indices(100, &[1, 99]), sent(&[1.0, 2.0])] };
    assert_eq!(flasc.decode(&ctx, good, start, &mut Memory::default()).unwrap()[99], 2.0);
}

#[test]
fn what_is_not_a_policy_is_told_apart() {
    let reason = |bytes: &[u8]| HOST.load_bytes("it", bytes).err().map(|error| error.to_string()).unwrap_or_default();
    assert!(reason(b"\0asm\x01\0\0\0").contains("core module"));
    assert!(reason(b"hello").contains("5 bytes do not start as one"));
    assert!(reason(b"").contains("0 bytes"));
    assert!(reason(b"\0asm\x0d\0\x01\0").contains("nothing of cellm:policy"));
    assert!(reason(b"\0asm\x0d\0\x01\0garbage").contains("is not a WebAssembly component"));
    let missing = HOST.load("no/such.wasm").err().map(|error| error.to_string()).unwrap_or_default();
    assert!(missing.contains("no/such.wasm") && missing.contains("flasc"), "{missing}");
    assert!(HOST.load("flsc").unwrap_err().to_string().contains("not built in, did you mean flasc (built in:"));
    let pinned = HOST.load("flsc@sha256:0123abcd").unwrap_err();
    assert!(matches!(pinned, PolicyError::OtherPin { .. }), "{pinned}");
}

#[test]
fn a_folder_is_answered_with_the_component_in_it() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("my-idea");
    std::fs::create_dir(&dir).unwrap();
    let refused = || HOST.load(dir.to_str().unwrap()).unwrap_err().to_string();
    assert!(refused().contains("my-idea/my-idea.wasm (`cellm plugin build "), "{}", refused());
    std::fs::write(dir.join("my-idea.wasm"), "").unwrap();
    assert!(refused().ends_with("my-idea/my-idea.wasm"), "{}", refused());
}

/// The dense component with some of its interface names changed to others of the same length.
fn renamed(from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut bytes = include_bytes!("../../plugins/prebuilt/dense.wasm").to_vec();
    for at in 0..bytes.len() - from.len() {
        if bytes[at..].starts_with(from) {
            bytes[at..at + to.len()].copy_from_slice(to);
        }
    }
    bytes
}

#[test]
fn a_policy_that_wants_files_or_clocks_is_refused() {
    let error = HOST.load_bytes("greedy.wasm", &renamed(b"cellm:policy/host", b"wasi:clocks/clock")).unwrap_err();
    assert!(matches!(error, PolicyError::ForeignImport { .. }), "{error}");
    assert!(error.to_string().contains("greedy.wasm imports wasi:clocks/clock@0.1.1"), "{error}");
}

#[test]
fn another_version_of_the_interface_is_named_with_what_to_do() {
    let refused = |version: &[u8]| HOST.load_bytes("it.wasm", &renamed(b"@0.1.1", version)).unwrap_err().to_string();
    let expected = "expected cellm:policy@0.1.1, found cellm:policy@0.2.0 (newer than this program: take a cellm that has \
                    cellm:policy@0.2.0, or";
    assert!(refused(b"@0.2.0").contains(expected), "{}", refused(b"@0.2.0"));
    assert!(refused(b"@0.0.9").contains("found cellm:policy@0.0.9 (older than this program: build it again"));
    HOST.load_bytes("it.wasm", &renamed(b"@0.1.1", b"@0.1.9")).unwrap();
}

/// A file that shipped is never edited: a change of the interface is a new version beside it.
#[test]
fn released_interfaces_are_frozen() {
    let released = [(
        include_bytes!("../../wit/0.1.0/policy.wit"),
        "724631adba57593ad27c9c01dcbe3ed7d08f65fbb3c44dbac52c6582be34a5ec",
    )];
    for (text, hash) in released {
        assert_eq!(PolicyHash::of(text).to_string(), hash);
    }
}

#[test]
fn the_wrong_world_is_named() {
    let error = compressor("fedavg", 8, "{}").err().unwrap();
    assert_eq!(
        error.to_string(),
        "policy fedavg is no compressor for upload.policy, it is: aggregator (aggregate.policy takes those)"
    );
    let error = HOST.load("flasc").unwrap().aggregator(&layout(8), "{}").err().unwrap();
    assert_eq!(
        error.to_string(),
        "policy flasc is no aggregator for aggregate.policy, it is: compressor (upload.policy and download.policy take those)"
    );
}

#[test]
fn a_vector_of_another_length_is_refused_before_the_policy_sees_it() {
    let mut dense = compressor("dense", 8, "{}").unwrap();
    let start = layout(8).start().0;
    let refused = dense.encode(&context(Direction::Upload, 1), Arc::new(vec![0.0; 9]), start, &mut Memory::default());
    assert!(matches!(refused, Err(PolicyError::GivenLength { found: 9, expected: 8, .. })));
}

#[test]
fn a_pinned_built_in_policy_is_checked_too() {
    let hash = HOST.load("dense").unwrap().hash;
    assert_eq!(HOST.load(&format!("dense@blake3:{hash}")).unwrap().name, "dense");
    let error = HOST.load(&format!("flasc@blake3:{hash}")).unwrap_err();
    assert!(matches!(error, PolicyError::Pinned { expected, .. } if expected == hash), "{error}");
}

#[test]
fn the_list_of_allowed_policies_holds_for_built_in_ones() {
    let allow = vec![format!("dense@blake3:{}", HOST.load("dense").unwrap().hash)];
    let strict = PolicyHost::new(&LimitsConfig::default(), &PolicyConfig { allow, ..PolicyConfig::default() }).unwrap();
    strict.load("dense").unwrap();
    let error = strict.load("flasc").unwrap_err().to_string();
    assert!(error.contains("policy flasc may not run here") && error.contains("dense@blake3:"), "{error}");
}

#[test]
fn a_file_without_a_signature_is_refused_where_keys_are_set_and_built_in_policies_are_not() {
    let keys = vec!["RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3".into()];
    let strict = PolicyHost::new(&LimitsConfig::default(), &PolicyConfig { keys, ..PolicyConfig::default() }).unwrap();
    strict.load("dense").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mine.wasm");
    std::fs::write(&path, include_bytes!("../../plugins/prebuilt/dense.wasm")).unwrap();
    let error = strict.load(&path.to_string_lossy()).unwrap_err();
    assert!(matches!(error, PolicyError::Unsigned { .. }), "{error}");
    assert!(error.to_string().contains("mine.wasm.minisig"), "{error}");
}
