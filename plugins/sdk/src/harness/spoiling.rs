//! Messages that no encoder made: what a decoder must refuse with [`crate::PolicyError::BadMessage`], or take without harm.

use std::rc::Rc;

use super::Sent;
use crate::{Codes, IndexSet, Part, ValueCoding};

/// The message with one thing wrong each: parts missing, doubled, swapped or of another kind; other spaces, counts, codings
/// and bits.
pub fn spoiled(sent: &Sent) -> Vec<Sent> {
    let parts = &sent.parts;
    let mut all = vec![Vec::new()];
    if parts.len() > 1 {
        all.push(parts.iter().rev().cloned().collect());
    }
    for place in 0..parts.len() {
        let with = |replaced: Vec<Part>| {
            let mut parts = parts.clone();
            parts.splice(place..=place, replaced);
            parts
        };
        all.push(with(vec![]));
        all.push(with(vec![parts[place].clone(), parts[place].clone()]));
        all.extend(others(&parts[place]).into_iter().map(|other| with(vec![other])));
    }
    all.into_iter().map(|parts| Sent { parts, ..sent.clone() }).collect()
}

fn others(part: &Part) -> Vec<Part> {
    let mut others = match part {
        Part::Indices(set) => other_indices(set),
        Part::Values(coding, values) => other_values(*coding, values),
        Part::Codes(codes) => other_codes(codes),
        Part::Bytes(bytes) => {
            let longer = [bytes.as_slice(), &[0]].concat();
            let shorter = bytes.split_last().map(|(_, rest)| rest.to_vec());
            [longer].into_iter().chain(shorter).map(Part::Bytes).collect()
        }
    };
    if !matches!(part, Part::Bytes(_)) {
        others.push(Part::Bytes(vec![7; 9]));
    }
    others
}

fn other_indices(set: &IndexSet) -> Vec<Part> {
    let indices = set.read(0, set.count());
    let fewer = indices.split_last().map_or(&[][..], |(_, rest)| rest);
    let all: Vec<u32> = (0..set.space()).collect();
    let lists = [(set.space() + 1, &indices[..]), (set.space(), fewer), (set.space(), &all)];
    let differs = |(space, list): &(u32, &[u32])| *space != set.space() || *list != indices;
    lists.iter().filter(|list| differs(list)).filter_map(|(space, list)| indices_of(*space, list)).collect()
}

fn indices_of(space: u32, list: &[u32]) -> Option<Part> {
    IndexSet::from_list(space, list).ok().map(Part::Indices)
}

fn other_values(coding: ValueCoding, values: &[f32]) -> Vec<Part> {
    let other = if coding == ValueCoding::F32 { ValueCoding::F16 } else { ValueCoding::F32 };
    let longer = Rc::new([values, &[1.0]].concat());
    vec![Part::Values(other, Rc::new(values.to_vec())), Part::Values(coding, longer)]
}

fn other_codes(codes: &Codes) -> Vec<Part> {
    let list = codes.read(0, codes.count());
    let longer = [list.as_slice(), &[0]].concat();
    let bits = if codes.bits() < 8 { codes.bits() + 1 } else { 8 };
    let mut others = vec![Part::Codes(Codes::from_list(codes.bits(), &longer))];
    if bits != codes.bits() {
        others.push(Part::Codes(Codes::from_list(bits, &list)));
    }
    others
}
