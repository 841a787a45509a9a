//! The layout cut by role: where A lies, where B lies, and what is neither (head, core, base), which always goes along.

use cellm_plugin::{IndexSet, Layout, PolicyError, Role};

use crate::scheme::Part;

/// Coordinates by role.
pub struct Parts {
    /// All of A.
    pub a: IndexSet,
    /// All of B.
    pub b: IndexSet,
    /// Coordinates of neither.
    pub others: IndexSet,
    with_a: IndexSet,
    with_b: IndexSet,
}

impl Parts {
    /// Cuts a layout.
    pub fn new(layout: &Layout) -> Result<Self, PolicyError> {
        let is_a = |role: Role| role == Role::LoraA;
        let is_b = |role: Role| role == Role::LoraB;
        Ok(Self {
            a: coordinates(layout, is_a)?,
            b: coordinates(layout, is_b)?,
            others: coordinates(layout, |role| !is_a(role) && !is_b(role))?,
            with_a: coordinates(layout, |role| !is_b(role))?,
            with_b: coordinates(layout, |role| !is_a(role))?,
        })
    }

    /// One factor and what is neither.
    pub fn with_others(&self, part: Part) -> &IndexSet {
        match part {
            Part::A => &self.with_a,
            Part::B => &self.with_b,
        }
    }
}

fn coordinates(layout: &Layout, wanted: impl Fn(Role) -> bool) -> Result<IndexSet, PolicyError> {
    let tensors = layout.tensors.iter().filter(|tensor| wanted(tensor.role));
    let indices: Vec<u32> = tensors.flat_map(|tensor| tensor.offset..tensor.offset + tensor.len).collect();
    IndexSet::from_list(layout.values, &indices).map_err(PolicyError::Other)
}
