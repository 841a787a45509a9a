//! Errors of loading and running policies, each with the guilty policy, the hook and the values.

use std::io;

use super::PolicyHash;

/// Least likeness of two names, 1 for the same one, for one to be offered in place of the other.
const LIKENESS: f64 = 0.5;

/// A failure of loading or running a policy.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The name is no built-in policy and no file.
    #[error("policy {reference} is not a file and not built in{} (built in: {builtin})", meant(.nearest))]
    Missing {
        /// The reference that was given: a built-in name or a path.
        reference: String,
        /// The name that looks most like it, if one does.
        nearest: Option<String>,
        /// The names that there are.
        builtin: String,
    },
    /// The reference names a folder.
    #[error("policy {reference} is a folder, expected the component in it: {component}{}", unbuilt(.built, .reference))]
    Folder {
        /// The reference that was given: a built-in name or a path.
        reference: String,
        /// The path at which `cellm plugin build` puts the component of a project in that folder.
        component: String,
        /// True where the component is there.
        built: bool,
    },
    /// The file is there and cannot be read.
    #[error("policy {reference} cannot be read: {source}")]
    Unreadable {
        /// The reference that was given: a built-in name or a path.
        reference: String,
        /// The system's error.
        source: io::Error,
    },
    /// The component is too large to be compiled.
    #[error("policy {reference} has more than {limit} bytes, the limit of a component (limits.component_mb)")]
    TooLarge {
        /// The reference that was given: a built-in name or a path.
        reference: String,
        /// The limit.
        limit: u64,
    },
    /// The bytes are not a component.
    #[error("policy {reference} is not a WebAssembly component: {reason}")]
    NotAComponent {
        /// The reference that was given: a built-in name or a path.
        reference: String,
        /// The fault of the component.
        reason: String,
    },
    /// A component for another version of the WIT, or for something else.
    #[error("policy {reference} was built for another interface: expected {expected}, found {found}")]
    WrongWit {
        /// The reference that was given: a built-in name or a path.
        reference: String,
        /// The interface that this program has.
        expected: String,
        /// The interface of the component.
        found: String,
    },
    /// It wants something that policies do not get.
    #[error("policy {reference} imports {import}, policies get cellm:policy only (no files, network, clock)")]
    ForeignImport {
        /// The reference that was given: a built-in name or a path.
        reference: String,
        /// The import.
        import: String,
    },
    /// A compressor was asked for and it is an aggregator only, or the other way round.
    #[error("policy {policy} is no {wanted}, it is: {found}{}", place(.found))]
    WrongWorld {
        /// The policy.
        policy: String,
        /// The world that was asked for, with the config key that asked where that is known.
        wanted: String,
        /// The worlds that it has.
        found: &'static str,
    },
    /// An option is unknown, of the wrong type or out of range.
    #[error("policy {policy}: option {option} is {found}, allowed: {allowed}")]
    Option {
        /// The policy.
        policy: String,
        /// The option.
        option: String,
        /// Its value as given.
        found: String,
        /// Accepted values, in words.
        allowed: String,
    },
    /// The policy has no such option.
    #[error("policy {policy} has no option {option} (given: {found}){}; it has {known}", meant(.nearest))]
    UnknownOption {
        /// The policy.
        policy: String,
        /// The option.
        option: Box<str>,
        /// Its value as given.
        found: Box<str>,
        /// The option that looks most like it, if one does.
        nearest: Option<String>,
        /// The options that there are.
        known: Box<str>,
    },
    /// The policy does not work with that many bits.
    #[error("policy {policy}: {key} is {found}, allowed: {allowed}")]
    Bits {
        /// The policy.
        policy: String,
        /// The config key that sets them.
        key: &'static str,
        /// The bits.
        found: String,
        /// Accepted values, in words.
        allowed: String,
    },
    /// The policy answered with a typed error; it can still be used.
    #[error("policy {policy} refused in {hook}: {message}")]
    Rejected {
        /// The policy.
        policy: String,
        /// The call.
        hook: &'static str,
        /// Its words.
        message: String,
    },
    /// `finish` without a single update; it can still be used.
    #[error("policy {policy} has no updates to aggregate")]
    NoUpdates {
        /// The policy.
        policy: String,
    },
    /// The policy broke down; this instance is finished.
    #[error("policy {policy} trapped in {hook}: {reason}")]
    Trapped {
        /// The policy.
        policy: String,
        /// The call.
        hook: &'static str,
        /// The trap.
        reason: String,
    },
    /// The call took too long; this instance is finished.
    #[error("policy {policy} ran past its deadline in {hook}: limit {limit_ms} ms (limits.deadline_ms)")]
    Deadline {
        /// The policy.
        policy: String,
        /// The call.
        hook: &'static str,
        /// The limit.
        limit_ms: u64,
    },
    /// It asked for too much memory; this instance is finished.
    #[error("policy {policy} asked for too much memory in {hook}: {found} bytes, limit {limit} (limits.memory_mb)")]
    Memory {
        /// The policy.
        policy: String,
        /// The call.
        hook: &'static str,
        /// Bytes that it would have held.
        found: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// It holds too many resources; this instance is finished.
    #[error("policy {policy} holds too many handles in {hook}: limit {limit} (limits.handles)")]
    Handles {
        /// The policy.
        policy: String,
        /// The call.
        hook: &'static str,
        /// The limit.
        limit: u32,
    },
    /// The message that it encodes is too large; this instance is finished.
    #[error("policy {policy} wrote too much in {hook}: {found} {unit}, limit {limit} ({key})")]
    Output {
        /// The policy.
        policy: String,
        /// The call.
        hook: &'static str,
        /// Bytes or parts that the message would have had.
        found: u64,
        /// The limit.
        limit: u64,
        /// The unit of both: bytes or parts.
        unit: &'static str,
        /// The config key of the limit.
        key: &'static str,
    },
    /// It asked host kernels for more work than the deadline buys; this instance is finished.
    #[error(
        "policy {policy} asked for too much work in {hook}: {call} brings it to {found} operations, limit {limit} \
         (limits.deadline_ms)"
    )]
    Work {
        /// The policy.
        policy: String,
        /// The call.
        hook: &'static str,
        /// The host kernel.
        call: &'static str,
        /// Operations of this call of the policy with the kernel's.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// It handed over too much at once; this instance is finished.
    #[error(
        "policy {policy} handed over too much in {hook}: the lists and texts of one call have a limit of {limit} bytes"
    )]
    Lists {
        /// The policy.
        policy: String,
        /// The call.
        hook: &'static str,
        /// The limit: 4 MiB and one vector of the layout.
        limit: usize,
    },
    /// It wants to remember too much; this instance is finished.
    #[error("policy {policy} remembers too much in {hook}: {found} bytes, limit {limit} (limits.state_mb)")]
    State {
        /// The policy.
        policy: String,
        /// The call.
        hook: &'static str,
        /// Bytes that its memory would have had.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// The policy's description of itself cannot be used.
    #[error("policy {reference} describes itself badly: {reason}")]
    BadDescription {
        /// The reference that was given: a built-in name or a path.
        reference: String,
        /// The fault of the description, with the values.
        reason: String,
    },
    /// The coordinates that it returned are of another space than the layout; the instance can still be used.
    #[error("policy {policy} returned coordinates below {found} in {hook}, expected {expected}")]
    WrongSpace {
        /// The policy.
        policy: String,
        /// The call.
        hook: &'static str,
        /// Space of the coordinates.
        found: usize,
        /// Values of the layout.
        expected: usize,
    },
    /// A result has another length than the layout; the instance can still be used.
    #[error("policy {policy} returned {found} values in {hook}, expected {expected}")]
    WrongLength {
        /// The policy.
        policy: String,
        /// The call.
        hook: &'static str,
        /// Values returned.
        found: usize,
        /// Values of the layout.
        expected: usize,
    },
    /// The caller gave a vector of another length than the layout.
    #[error("policy {policy} was given {found} values in {hook}, expected {expected}")]
    GivenLength {
        /// The policy.
        policy: String,
        /// The call.
        hook: &'static str,
        /// Values given.
        found: usize,
        /// Values of the layout.
        expected: usize,
    },
    /// The message has more parts than the policy took; the instance can still be used.
    #[error("policy {policy} took {taken} of the {found} parts of a message in {hook}")]
    LeftOver {
        /// The policy.
        policy: String,
        /// The call.
        hook: &'static str,
        /// Parts of the message.
        found: usize,
        /// Parts taken.
        taken: usize,
    },
    /// A call to an instance that broke down before.
    #[error("policy {policy} cannot run {hook}: this instance broke down before")]
    Poisoned {
        /// The policy.
        policy: String,
        /// The call.
        hook: &'static str,
    },
    /// The layout has more values than 32 bits can count.
    #[error("policy {policy} cannot take {found} values, limit {limit}")]
    Layout {
        /// The policy.
        policy: String,
        /// Values of the layout.
        found: usize,
        /// The limit.
        limit: u32,
    },
    /// A hash pinned in a reference is none.
    #[error("policy {reference} is pinned to {found}, expected the 64 hexadecimal digits of a BLAKE3 hash")]
    BadPin {
        /// The reference that was given: a built-in name or a path.
        reference: String,
        /// The text in place of the hash.
        found: String,
    },
    /// The text after the @ looks like a pin of another kind.
    #[error(
        "policy {reference} is pinned by @{found}, expected @blake3:HEX (`cellm plugin inspect {reference}` shows it)"
    )]
    OtherPin {
        /// The reference that was given: a built-in name or a path.
        reference: String,
        /// The text after the @.
        found: String,
    },
    /// The bytes are not the pinned ones.
    #[error("policy {reference} is not the pinned one: its BLAKE3 is {found}, expected {expected}")]
    Pinned {
        /// The reference that was given: a built-in name or a path.
        reference: String,
        /// Hash of the bytes.
        found: PolicyHash,
        /// Hash in the reference.
        expected: PolicyHash,
    },
    /// It is not on the list of those that may run.
    #[error("policy {policy} may not run here: its BLAKE3 is {found}, policy.allow has {allowed}")]
    NotAllowed {
        /// The policy.
        policy: String,
        /// Its hash.
        found: PolicyHash,
        /// The components that may run.
        allowed: String,
    },
    /// Its file has no signature of a key that is trusted.
    #[error("policy {reference} needs a signature of one of policy.keys in {path}: {reason}")]
    Unsigned {
        /// The reference that was given: a built-in name or a path.
        reference: String,
        /// The path of the expected signature file.
        path: String,
        /// The fault of the signature.
        reason: String,
    },
    /// A value of the section `policy` cannot be read.
    #[error("{key} has {found}, it must be {allowed}")]
    Setting {
        /// The key.
        key: &'static str,
        /// The value.
        found: String,
        /// Accepted values, in words.
        allowed: &'static str,
    },
    /// The WebAssembly engine itself failed.
    #[error("the policy engine cannot start: {0}")]
    Engine(String),
}

impl PolicyError {
    /// True where the policy itself answered with a typed error: its instance, and everything that it holds, are as
    /// before the call.
    pub fn is_typed(&self) -> bool {
        matches!(self, Self::Option { .. } | Self::Bits { .. } | Self::Rejected { .. } | Self::NoUpdates { .. })
    }
}

fn meant(nearest: &Option<String>) -> String {
    nearest.as_ref().map_or_else(String::new, |name| format!(", did you mean {name}"))
}

fn unbuilt(built: &bool, folder: &str) -> String {
    if *built { String::new() } else { format!(" (`cellm plugin build {folder}` makes it)") }
}

/// The key that takes what a policy is, where that is one thing only.
fn place(found: &str) -> &'static str {
    match found {
        "aggregator" => " (aggregate.policy takes those)",
        "compressor" => " (upload.policy and download.policy take those)",
        _ => "",
    }
}

/// The name that looks most like `word`, if it could be a slip.
pub(super) fn nearest<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    let scored = names.map(|name| (strsim::normalized_damerau_levenshtein(word, name), name));
    let (score, name) = scored.max_by(|(a, _), (b, _)| a.total_cmp(b))?;
    (score >= LIKENESS).then(|| name.to_owned())
}

/// The reason why the host stopped a policy in the middle of a call. It travels through wasmtime as the cause of a
/// trap.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("memory: {found} bytes, limit {limit}")]
    Memory { found: u64, limit: u64 },
    #[error("state: {found} bytes, limit {limit}")]
    State { found: u64, limit: u64 },
    #[error("work: {call} brings it to {found} operations, limit {limit}")]
    Work { call: &'static str, found: u64, limit: u64 },
    #[error("handles: limit {limit}")]
    Handles { limit: u32 },
    #[error("output: {found} {unit}, limit {limit}")]
    Output { found: u64, limit: u64, unit: &'static str, key: &'static str },
    #[error("{0}")]
    Misuse(String),
}
