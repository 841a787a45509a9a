//! The roster: who may take part, by number.

/// The clients of a federation in the order of their numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Roster {
    names: Vec<String>,
}

impl Roster {
    /// Clients of these names, numbered from 0.
    pub fn new(names: Vec<String>) -> Self {
        Self { names }
    }

    /// Clients.
    pub fn clients(&self) -> usize {
        self.names.len()
    }

    /// A client's name.
    pub fn name(&self, client: u32) -> &str {
        self.names.get(client as usize).map_or("", String::as_str)
    }

    /// All names, by number.
    pub fn names(&self) -> &[String] {
        &self.names
    }
}
