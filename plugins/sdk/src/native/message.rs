//! Messages, natively: parts in order. Values are rounded as the wire rounds them.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use half::{bf16, f16};

use super::{Codes, IndexSet, Vector};
use crate::{PolicyError, ValueCoding};

/// One part of a message.
#[derive(Debug, Clone)]
pub enum Part {
    /// Sorted distinct coordinates.
    Indices(IndexSet),
    /// Values, rounded to their coding.
    Values(ValueCoding, Rc<Vec<f32>>),
    /// Small integers.
    Codes(Codes),
    /// Anything.
    Bytes(Vec<u8>),
}

impl Part {
    fn name(&self) -> String {
        match self {
            Self::Indices(set) => format!("{} indices below {}", set.count(), set.space),
            Self::Values(coding, values) => format!("{} values in {coding:?}", values.len()),
            Self::Codes(codes) => format!("{} codes of {} bits", codes.count(), codes.bits),
            Self::Bytes(bytes) => format!("{} bytes", bytes.len()),
        }
    }
}

/// Parts, taken by the decoder in the order in which the encoder put them.
#[derive(Debug, Default)]
pub struct Message(RefCell<VecDeque<Part>>);

fn rounded(coding: ValueCoding, values: &[f32]) -> Vec<f32> {
    match coding {
        ValueCoding::F32 => values.to_vec(),
        ValueCoding::F16 => values.iter().map(|value| f16::from_f32(*value).to_f32()).collect(),
        ValueCoding::Bf16 => values.iter().map(|value| bf16::from_f32(*value).to_f32()).collect(),
    }
}

impl Message {
    /// Native only: a message of these parts.
    pub fn from_parts(parts: Vec<Part>) -> Self {
        Self(RefCell::new(parts.into()))
    }

    /// Native only: the parts that were not taken.
    pub fn parts(&self) -> Vec<Part> {
        self.0.borrow().iter().cloned().collect()
    }

    fn put(&self, part: Part) {
        self.0.borrow_mut().push_back(part);
    }

    fn take(&self, wanted: &str) -> Result<Part, PolicyError> {
        self.0
            .borrow_mut()
            .pop_front()
            .ok_or_else(|| PolicyError::BadMessage(format!("no part left, {wanted} expected")))
    }

    /// Appends coordinates.
    pub fn put_indices(&self, indices: &IndexSet) {
        self.put(Part::Indices(indices.clone()));
    }

    /// Appends values.
    pub fn put_values(&self, coding: ValueCoding, values: &Vector) {
        self.put(Part::Values(coding, Rc::new(rounded(coding, &values.shared()))));
    }

    /// Appends codes.
    pub fn put_codes(&self, codes: &Codes) {
        self.put(Part::Codes(codes.clone()));
    }

    /// Appends bytes.
    pub fn put_bytes(&self, bytes: &[u8]) {
        self.put(Part::Bytes(bytes.to_vec()));
    }

    /// The next part, which must hold coordinates below exactly this space.
    pub fn take_indices(&self, space: u32) -> Result<IndexSet, PolicyError> {
        let wanted = format!("indices below {space}");
        match self.take(&wanted)? {
            Part::Indices(set) if set.space == space => Ok(set),
            other => Err(PolicyError::BadMessage(format!("{} found, {wanted} expected", other.name()))),
        }
    }

    /// The next part, which must hold exactly this many values in this coding.
    pub fn take_values(&self, coding: ValueCoding, count: u32) -> Result<Vector, PolicyError> {
        let wanted = format!("{count} values in {coding:?}");
        match self.take(&wanted)? {
            Part::Values(found, values) if found == coding && values.len() == count as usize => {
                Ok(Vector::from_values(values.to_vec()))
            }
            other => Err(PolicyError::BadMessage(format!("{} found, {wanted} expected", other.name()))),
        }
    }

    /// The next part, which must hold exactly this many codes of this many bits.
    pub fn take_codes(&self, bits: u8, count: u32) -> Result<Codes, PolicyError> {
        let wanted = format!("{count} codes of {bits} bits");
        match self.take(&wanted)? {
            Part::Codes(codes) if codes.bits == bits && codes.count() == count => Ok(codes),
            other => Err(PolicyError::BadMessage(format!("{} found, {wanted} expected", other.name()))),
        }
    }

    /// The next part, which must hold bytes.
    pub fn take_bytes(&self) -> Result<Vec<u8>, PolicyError> {
        match self.take("bytes")? {
            Part::Bytes(bytes) => Ok(bytes),
            other => Err(PolicyError::BadMessage(format!("{} found, bytes expected", other.name()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_back_in_order_and_rounded() {
        let message = Message::default();
        message.put_values(ValueCoding::Bf16, &Vector::from_values(vec![1.003_906_3, 2.0]));
        message.put_bytes(&[1, 2]);
        assert_eq!(message.take_values(ValueCoding::Bf16, 2).unwrap().values(), [1.0, 2.0]);
        assert_eq!(message.take_bytes().unwrap(), [1, 2]);
        let error = message.take_codes(2, 5).unwrap_err();
        assert_eq!(error, PolicyError::BadMessage("no part left, 5 codes of 2 bits expected".into()));
    }

    #[test]
    fn a_part_of_another_kind_is_a_bad_message() {
        let message = Message::default();
        message.put_indices(&IndexSet::from_list(9, &[1, 2]).unwrap());
        let error = message.take_indices(8).unwrap_err();
        assert_eq!(error, PolicyError::BadMessage("2 indices below 9 found, indices below 8 expected".into()));
    }
}
