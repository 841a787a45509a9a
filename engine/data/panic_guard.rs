//! Panics of other crates' parsers: a call that may panic in, an error in place of the panic out.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

thread_local! {
    static INSIDE_GUARD: Cell<bool> = const { Cell::new(false) };
}

/// Calls a parser of untrusted bytes that may panic. A panic becomes an error with its message and is not printed.
///
/// # Errors
/// The message of the panic.
pub(super) fn catch_panic<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    silence_hook();
    let before = INSIDE_GUARD.replace(true);
    let result = catch_unwind(AssertUnwindSafe(call));
    INSIDE_GUARD.set(before);
    result.map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        format!("its parser gave up: {}", text.unwrap_or("without a word"))
    })
}

/// Silences the panic hook for panics that are caught here; others are printed as before.
fn silence_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !INSIDE_GUARD.get() {
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
        assert_eq!(catch_panic(|| 3), Ok(3));
        assert_eq!(catch_panic(|| -> u32 { panic!("no token {}", 7) }), Err("its parser gave up: no token 7".into()));
        assert_eq!(catch_panic(|| -> u32 { panic!("no") }), Err("its parser gave up: no".into()));
        assert!(!INSIDE_GUARD.get());
    }
}
