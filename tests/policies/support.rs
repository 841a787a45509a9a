//! Components, limits and one host for the tests of hostile policies.

use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use cellm::adapter::{AdapterLayout, Role, TensorSpec};
use cellm::policy::{LimitsConfig, PolicyConfig, PolicyError, PolicyHost};

use crate::allocator;
use crate::life;

/// The component, which behaves as it is.
pub const HOSTILE: &[u8] = include_bytes!("../fixtures/hostile.wasm");
const MARKER: &[u8] = b"cellm-hostile-act:";
/// Bytes of the act in the marker.
const ACT_BYTES: usize = 46;

/// Values of the layout.
pub const VALUES: usize = 4096;
pub const DEADLINE_MS: u64 = 200;
const MEMORY_MB: u32 = 32;

/// One for all: starting one takes a while, and each test shows that it can still be used.
pub static HOST: LazyLock<PolicyHost> = LazyLock::new(|| {
    let limits = LimitsConfig {
        memory_mb: MEMORY_MB,
        deadline_ms: DEADLINE_MS,
        output_mb: 4,
        parts: 100,
        handles: 50,
        state_mb: 2,
        component_mb: 4,
    };
    PolicyHost::new(&limits, &PolicyConfig::default()).unwrap()
});

/// Acts go one at a time, so that time and memory are theirs.
static TURN: Mutex<()> = Mutex::new(());

pub fn layout() -> Arc<AdapterLayout> {
    let tensor = |name: &str, role| TensorSpec {
        name: name.into(),
        role,
        shape: vec![8, VALUES / 16],
        rank: 8,
        scale: 1.0,
        seed: 3,
    };
    Arc::new(AdapterLayout::new(vec![tensor("a", Role::LoraA), tensor("b", Role::LoraB)]))
}

/// The component that does this act, written `HOOK:DEED`.
pub fn component(act: &str) -> Vec<u8> {
    assert!(act.len() <= ACT_BYTES, "{act}");
    let mut bytes = HOSTILE.to_vec();
    let places: Vec<usize> = (0..bytes.len() - MARKER.len()).filter(|at| bytes[*at..].starts_with(MARKER)).collect();
    assert_eq!(places.len(), 1, "the marker stands in the component once");
    let at = places[0] + MARKER.len();
    bytes[at..at + ACT_BYTES].fill(b'.');
    bytes[at..at + act.len()].copy_from_slice(act.as_bytes());
    bytes
}

/// Lives through every hook of a component until one fails. Then: the time and the memory that it took are within the
/// limits, and the host still runs a policy that behaves.
pub fn ordeal(name: &str, bytes: &[u8]) -> Result<(), PolicyError> {
    let turn = TURN.lock().unwrap_or_else(|broken| broken.into_inner());
    let started = Instant::now();
    let loaded = HOST.load_bytes(name, bytes);
    let loading = started.elapsed();
    let mark = allocator::mark();
    let started = Instant::now();
    let result = loaded.and_then(|policy| life::live(&policy));
    let (took, peak) = (started.elapsed(), allocator::peak_since(mark));
    // A life has a dozen calls, and the machine may be busy.
    let most = Duration::from_millis(DEADLINE_MS * 20) + Duration::from_secs(10);
    assert!(took < most && loading < most + Duration::from_secs(20), "{name}: {loading:?} to load, {took:?} to run");
    // What a policy holds is limited; what it is given and gives back comes on top.
    let limit = u64::from(MEMORY_MB + 8) << 20;
    assert!(peak < limit, "{name}: {peak} bytes, limit {limit}");
    if result.is_err() {
        life::live(&BEHAVED).unwrap();
    }
    drop(turn);
    result
}

static BEHAVED: LazyLock<Arc<cellm::policy::Policy>> = LazyLock::new(|| HOST.load_bytes("hostile", HOSTILE).unwrap());

/// Every act of a table ends in an error whose text has what stands beside the act, and the hook.
pub fn all_fail(acts: &[(&str, &str)]) {
    for (act, expected) in acts {
        let Err(error) = ordeal(act, &component(act)) else { panic!("{act} went well, expected: {expected}") };
        let text = error.to_string();
        let hook = act.split(':').next().unwrap_or_default();
        let hook = if hook == "start" { "instantiate" } else { hook };
        assert!(text.contains(expected), "{act}: {text}, expected: {expected}");
        assert!(text.contains(hook), "{act}: {text}, expected the hook {hook}");
        assert!(text.len() < 4000, "{act}: {} bytes of text", text.len());
    }
}

/// Every act of a list does no harm at all.
pub fn all_pass(acts: &[&str]) {
    for act in acts {
        ordeal(act, &component(act)).unwrap_or_else(|error| panic!("{act}: {error}"));
    }
}
