//! Panics of other crates' parsers: a call that may panic in, an error in place of the panic out.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Calls a parser of untrusted bytes that may panic. A panic becomes an error with its message and is not printed.
///
/// # Errors
/// The message of the panic.
pub(super) fn guarded<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    quiet();
    let before = INSIDE.replace(true);
    let result = catch_unwind(AssertUnwindSafe(call));
    INSIDE.set(before);
    result.map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        format!("its parser gave up: {}", text.unwrap_or("without a word"))
    })
}

/// Silences the panic hook for panics that are caught here; others are printed as before.
fn quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !INSIDE.get() {
                hook(panic);
            }
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error_with_its_words() {
        assert_eq!(guarded(|| 3), Ok(3));
        assert_eq!(guarded(|| -> u32 { panic!("no token {}", 7) }), Err("its parser gave up: no token 7".into()));
        assert_eq!(guarded(|| -> u32 { panic!("no") }), Err("its parser gave up: no".into()));
        assert!(!INSIDE.get());
    }
}
