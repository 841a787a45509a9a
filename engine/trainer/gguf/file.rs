//! The structure of a GGUF file: bytes in, metadata and the places of tensors out. Nothing is copied, nothing is made
//! for a count before the bytes that it counts were seen.

use std::collections::HashMap;

use super::block_type::BlockType;
use super::cursor::Cursor;
use super::metadata::{Metadata, Value};

/// The first bytes of every file.
const MAGIC: &[u8] = b"GGUF";
/// The alignment of tensors where `general.alignment` is missing.
const ALIGNMENT: u64 = 32;
/// The most dimensions of a tensor.
const MOST_DIMENSIONS: u32 = 4;

/// A file's metadata and tensors.
#[derive(Debug)]
pub(in crate::trainer) struct GgufFile<'a> {
    pub metadata: Metadata<'a>,
    /// In the order of the file.
    pub tensors: Vec<GgufTensor<'a>>,
}

/// A tensor's name, type, shape and place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::trainer) struct GgufTensor<'a> {
    pub name: &'a str,
    pub kind: BlockType,
    /// Row-major, so in the opposite order of the file: rows first.
    pub shape: Vec<usize>,
    /// The first byte in the file.
    pub start: usize,
    /// Number of bytes.
    pub length: usize,
}

impl<'a> GgufFile<'a> {
    /// Reads the head of a file and checks that every tensor lies in it.
    ///
    /// # Errors
    /// A sentence that names the key or tensor at fault.
    pub fn read(bytes: &'a [u8]) -> Result<Self, String> {
        let mut cursor = Cursor::new(bytes);
        if bytes.get(..MAGIC.len()) != Some(MAGIC) {
            return Err("it does not begin with GGUF".into());
        }
        cursor.skip(MAGIC.len() as u64, "the magic")?;
        let version = cursor.u32("the version")?;
        match version {
            2 | 3 => {}
            other if matches!(other.swap_bytes(), 1..=3) => {
                return Err("it is big-endian, but only little is read".into());
            }
            other => return Err(format!("its version is {other}, but only 2 and 3 are read")),
        }
        let tensors = cursor.u64("the number of tensors")?;
        let keys = cursor.u64("the number of keys")?;
        let metadata = Metadata::read(&mut cursor, keys)?;
        let alignment = match metadata.get("general.alignment") {
            None => ALIGNMENT,
            Some(Value::Whole(found)) if (1..=1 << 20).contains(found) && found.count_ones() == 1 => *found as u64,
            Some(found) => {
                return Err(format!(
                    "key general.alignment is {found}, but only a power of 2 up to 1048576 is supported"
                ));
            }
        };
        let tensors = read_tensors(&mut cursor, tensors, alignment, bytes.len())?;
        Ok(Self { metadata, tensors })
    }
}

fn read_tensors<'a>(
    cursor: &mut Cursor<'a>,
    count: u64,
    alignment: u64,
    length: usize,
) -> Result<Vec<GgufTensor<'a>>, String> {
    let mut tensors: Vec<(GgufTensor, u64)> = Vec::new();
    let mut seen = HashMap::new();
    for number in 0..count {
        let tensor = read_tensor(cursor, &format!("tensor {number} of {count}"), alignment)?;
        let name = tensor.0.name;
        if let Some(first) = seen.insert(name, number) {
            return Err(format!("tensor {name} is there twice, as numbers {first} and {number}"));
        }
        tensors.push(tensor);
    }
    let data = (cursor.position() as u64).next_multiple_of(alignment);
    let place = |(mut tensor, offset): (GgufTensor<'a>, u64)| {
        let start = data.checked_add(offset);
        let end = start.and_then(|start| start.checked_add(tensor.length as u64)).filter(|end| *end <= length as u64);
        match (start, end) {
            (Some(start), Some(_)) => {
                tensor.start = start as usize;
                Ok(tensor)
            }
            _ => Err(format!(
                "tensor {} has {} bytes at offset {offset} of the data, which begin at byte {data}, but the file has {length}: \
                 it is cut off, or lies",
                tensor.name, tensor.length
            )),
        }
    };
    tensors.into_iter().map(place).collect()
}

/// A tensor and its offset in the data.
fn read_tensor<'a>(cursor: &mut Cursor<'a>, which: &str, alignment: u64) -> Result<(GgufTensor<'a>, u64), String> {
    let name = cursor.text(&format!("the name of {which}"))?;
    let name = std::str::from_utf8(name).map_err(|_| format!("the name of {which} is no UTF-8"))?;
    if name.is_empty() {
        return Err(format!("the name of {which} is empty"));
    }
    let of = |part: &str| format!("the {part} of tensor {name}");
    let dimensions = cursor.u32(&of("number of dimensions"))?;
    if !(1..=MOST_DIMENSIONS).contains(&dimensions) {
        return Err(format!(
            "tensor {name} has {dimensions} dimensions, but only 1 to {MOST_DIMENSIONS} are supported"
        ));
    }
    let mut shape = Vec::with_capacity(dimensions as usize);
    for _ in 0..dimensions {
        shape.push(cursor.u64(&of("dimensions"))?);
    }
    let kind = cursor.u32(&of("type"))?;
    let kind = BlockType::of_number(kind)
        .map_err(|found| format!("tensor {name} has the type {found}, but only {} are read", BlockType::names()))?;
    let offset = cursor.u64(&of("offset"))?;
    if !offset.is_multiple_of(alignment) {
        return Err(format!("tensor {name} is at offset {offset} of the data, which is no multiple of {alignment}"));
    }
    let lies = || format!("tensor {name} has the dimensions {shape:?}, which no file can hold as {}", kind.name());
    // The first dimension is the one of a row, whose values lie side by side in blocks.
    if !shape[0].is_multiple_of(kind.values() as u64) {
        let (found, needed) = (shape[0], kind.values());
        return Err(format!("tensor {name} has rows of {found} values, but {} has blocks of {needed}", kind.name()));
    }
    let values = shape.iter().try_fold(1u64, |product, size| product.checked_mul(*size)).filter(|values| *values > 0);
    let values = values.ok_or_else(lies)?;
    let length = (values / kind.values() as u64).checked_mul(kind.bytes() as u64).ok_or_else(lies)?;
    let length = usize::try_from(length).map_err(|_| lies())?;
    let shape: Vec<usize> = shape.iter().rev().map(|size| *size as usize).collect();
    Ok((GgufTensor { name, kind, shape, start: 0, length }, offset))
}
