//! The misdeed of this component, and the hook that does it. It stands in a marker among the component's data, which a
//! test overwrites, so that each act is a component of its own; where the marker says `option`, the option `act` decides.

use std::cell::RefCell;

/// 18 bytes to find the marker by, then `HOOK:DEED` filled up with dots.
static MARKER: [u8; 64] = *b"cellm-hostile-act:option........................................";
const PREFIX: usize = 18;

/// Acts that the option `act` offers. All are done in `encode`, but `long` and `refuse` in `decode`.
pub const OPTION_ACTS: [&str; 17] = [
    "none",
    "loop",
    "host-loop",
    "memory",
    "vectors",
    "handles",
    "leak",
    "trap",
    "recursion",
    "output",
    "parts",
    "list",
    "range",
    "indices",
    "long",
    "refuse",
    "chunks",
];

thread_local! {
    static CHOSEN: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Takes the choice of the option `act`.
pub fn choose(act: &str) {
    let hook = if matches!(act, "long" | "refuse") { "decode" } else { "encode" };
    CHOSEN.set(format!("{hook}:{act}"));
}

/// The deed to do in this hook; `none` where the component behaves.
pub fn deed_in(hook: &str) -> String {
    // SAFETY: a static is there to be read; volatile, or the compiler would take its first content for its only one.
    let marker = unsafe { std::ptr::read_volatile(&raw const MARKER) };
    let act = String::from_utf8_lossy(&marker[PREFIX..]).trim_end_matches('.').to_owned();
    let act = if act == "option" { CHOSEN.with_borrow(Clone::clone) } else { act };
    match act.split_once(':') {
        Some((of, deed)) if of == hook => deed.to_owned(),
        _ => "none".to_owned(),
    }
}
