//! A policy's memory, natively: that of whoever runs the hook, lent to the thread while the hook runs.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::mem::replace;
use std::rc::Rc;

use super::Vector;

/// The memory of one owner (a client, or the server) for one policy. Cloning is cheap.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Memory {
    vectors: BTreeMap<String, Rc<Vec<f32>>>,
    bytes: BTreeMap<String, Vec<u8>>,
}

impl Memory {
    /// The vector under this key.
    pub fn vector(&self, key: &str) -> Option<&[f32]> {
        self.vectors.get(key).map(|values| values.as_slice())
    }

    /// The bytes under this key.
    pub fn bytes(&self, key: &str) -> Option<&[u8]> {
        self.bytes.get(key).map(Vec::as_slice)
    }

    /// True where there is no entry.
    pub fn is_empty(&self) -> bool {
        self.vectors.is_empty() && self.bytes.is_empty()
    }

    /// Runs `hook` with this memory lent to the thread. What the hook writes is kept only when it succeeds.
    pub fn lend<T, E>(&mut self, hook: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let before = self.clone();
        let outer = LENT.replace(replace(self, before));
        let result = hook();
        let after = LENT.replace(outer);
        if result.is_ok() {
            *self = after;
        }
        result
    }
}

thread_local! {
    static LENT: RefCell<Memory> = RefCell::default();
}

/// The vector under this key. Keys of vectors and of bytes are apart.
pub fn load(key: &str) -> Option<Vector> {
    LENT.with_borrow(|memory| memory.vectors.get(key).map(|values| Vector::from_values(values.to_vec())))
}

/// Keeps a vector.
pub fn save(key: &str, value: &Vector) {
    LENT.with_borrow_mut(|memory| memory.vectors.insert(key.into(), value.shared()));
}

/// The bytes under this key.
pub fn load_bytes(key: &str) -> Option<Vec<u8>> {
    LENT.with_borrow(|memory| memory.bytes.get(key).cloned())
}

/// Keeps bytes.
pub fn save_bytes(key: &str, value: &[u8]) {
    LENT.with_borrow_mut(|memory| memory.bytes.insert(key.into(), value.to_vec()));
}

/// Drops both.
pub fn forget(key: &str) {
    LENT.with_borrow_mut(|memory| {
        memory.vectors.remove(key);
        memory.bytes.remove(key);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hook_that_fails_writes_nothing_and_owners_are_apart() {
        let (mut one, mut other) = (Memory::default(), Memory::default());
        let written: Result<(), ()> = one.lend(|| {
            save("e", &Vector::from_values(vec![1.0]));
            save_bytes("e", &[7]);
            Ok(())
        });
        assert!(written.is_ok());
        let failed: Result<(), ()> = one.lend(|| {
            forget("e");
            Err(())
        });
        assert!(failed.is_err());
        assert_eq!((one.vector("e"), one.bytes("e")), (Some(&[1.0][..]), Some(&[7][..])));
        let seen: Result<bool, ()> = other.lend(|| Ok(load("e").is_some() || load_bytes("e").is_some()));
        assert_eq!(seen, Ok(false));
        assert!(other.is_empty());
    }
}
