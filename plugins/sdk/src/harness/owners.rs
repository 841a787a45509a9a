//! The memories of server and clients: writes of a round are kept when it ends with the client's update in it.

use std::collections::BTreeMap;

use crate::Memory;

/// Whose memory a hook sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// The server's.
    Server,
    /// This client's.
    Client(u32),
}

/// The memories of a run for one policy: as the last round left them, and as the round under way has them.
#[derive(Debug, Clone, Default)]
pub struct Owners {
    kept: BTreeMap<Owner, Memory>,
    now: BTreeMap<Owner, Memory>,
}

impl Owners {
    /// The memory of this owner, writes of the round under way included.
    pub fn of(&self, owner: Owner) -> Memory {
        self.now.get(&owner).or_else(|| self.kept.get(&owner)).cloned().unwrap_or_default()
    }

    /// Runs a hook with this owner's memory. What it writes counts for the round under way, when it succeeds.
    pub fn lend<T, E>(&mut self, owner: Owner, hook: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let mut memory = self.of(owner);
        let result = memory.lend(hook)?;
        self.now.insert(owner, memory);
        Ok(result)
    }

    /// Keeps what this owner wrote.
    pub fn keep(&mut self, owner: Owner) {
        self.kept.extend(self.now.remove_entry(&owner));
    }

    /// Forgets what this owner wrote since its last round ended well.
    pub fn roll_back(&mut self, owner: Owner) {
        self.now.remove(&owner);
    }

    /// Forgets what everybody wrote, as an interrupted run does.
    pub fn roll_back_all(&mut self) {
        self.now.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{load_bytes, save_bytes};

    fn write(owners: &mut Owners, owner: Owner, value: u8) {
        let _: Result<(), ()> = owners.lend(owner, || {
            save_bytes("k", &[value]);
            Ok(())
        });
    }

    #[test]
    fn writes_are_seen_at_once_and_kept_only_at_the_end() {
        let (mut owners, client) = (Owners::default(), Owner::Client(3));
        write(&mut owners, client, 1);
        owners.keep(client);
        write(&mut owners, client, 2);
        let seen: Result<_, ()> = owners.lend(client, || Ok(load_bytes("k")));
        assert_eq!(seen, Ok(Some(vec![2])));
        owners.roll_back(client);
        assert_eq!(owners.of(client).bytes("k"), Some(&[1][..]));
        assert!(owners.of(Owner::Server).is_empty() && owners.of(Owner::Client(4)).is_empty());
    }
}
