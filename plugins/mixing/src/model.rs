//! The context of a value before it is coded: its tensor, its component of the rank, its line (the column of A or the
//! row of B that it belongs to), and what was sent of its neighbours.
//!
//! Large changes crowd in lines (a feature that many components read or write) and in components. Of every few neighbours it is
//! told first whether any is sent, which most are not: at 1/32 that takes a third of the time and no more bytes.

use std::ops::Range;

use cellm_plugin::{Layout, Role};

use crate::mixer::{Mixer, Tables};
use crate::range::Binary;

/// Kinds of tensors that have statistics of their own: A, B, all others.
const KINDS: usize = 3;

/// Neighbours of one row that are told to be zero together.
const BLOCK: usize = 8;

/// Largest count of values of the same line that were sent before.
const CROWD: usize = 4;

/// Largest count of values around a block that were sent before.
const AROUND: usize = 4 * BLOCK + 1;

/// Largest count of values of a block that are sent.
const FOUND: usize = 3;

/// The layout of a tensor in the flat vector.
#[derive(Debug, Clone, Copy)]
struct Shape {
    kind: usize,
    offset: usize,
    /// Components times lines.
    components: usize,
    lines: usize,
    /// True where one line's values are neighbours in the vector, as in B.
    by_line: bool,
    /// Index of its first component among those of all tensors.
    first_component: usize,
}

/// The shapes of all tensors; made once for a layout.
#[derive(Debug)]
pub struct Shapes {
    shapes: Vec<Shape>,
    values: usize,
    components: usize,
}

impl Shapes {
    /// Of this layout.
    pub fn new(layout: &Layout) -> Self {
        let mut components = 0;
        let mut shape = |tensor: &cellm_plugin::TensorInfo| {
            let len = tensor.len as usize;
            let last = tensor.shape.last().map_or(1, |last| *last as usize).clamp(1, len.max(1));
            let kind = match tensor.role {
                Role::LoraA => 0,
                Role::LoraB => 1,
                Role::Core | Role::Head | Role::Base => 2,
            };
            // Of A the rows are components, of B the columns; of all others rows are.
            let (of_tensor, width, by_line) = match tensor.role {
                Role::LoraB => (last, len.div_ceil(last), true),
                _ => (len.div_ceil(last), last, false),
            };
            components += of_tensor;
            Shape {
                kind,
                offset: tensor.offset as usize,
                components: of_tensor,
                lines: width,
                by_line,
                first_component: components - of_tensor,
            }
        };
        let shapes = layout.tensors.iter().map(&mut shape).collect();
        Self { shapes, values: layout.values as usize, components }
    }

    /// Values of the layout.
    pub fn values(&self) -> usize {
        self.values
    }
}

/// The decisions of one message.
pub struct Model<'a> {
    shapes: &'a Shapes,
    any: Mixer<'a, 5>,
    sent: Mixer<'a, 3>,
    negative: Mixer<'a, 3>,
    higher: Mixer<'a, 3>,
}

/// The place of a value: its kind, its tensor, its component among those of all tensors.
#[derive(Debug, Clone, Copy)]
struct Place {
    kind: usize,
    tensor: usize,
    component: usize,
}

impl<'a> Model<'a> {
    /// Before the first value. `density` is the share that is expected to be sent.
    pub fn new(shapes: &'a Shapes, tables: &'a Tables, density: f32) -> Self {
        let tensors = shapes.shapes.len();
        let groups = shapes.components + tensors;
        let none = (0..BLOCK).fold(1.0, |none, _| none * (1.0 - density));
        let any = [KINDS, KINDS * (BLOCK + 1) * FOUND.pow(3), groups, KINDS * AROUND, tensors * FOUND];
        let sent = [KINDS * (BLOCK + 1), KINDS * CROWD * 9 * FOUND, shapes.components];
        Self {
            any: Mixer::new(tables, any, KINDS, 1.0 - none),
            sent: Mixer::new(tables, sent, KINDS * 2, density / (1.0 - none).max(density)),
            negative: Mixer::new(tables, [KINDS, KINDS * 9, shapes.components], KINDS, 0.5),
            higher: Mixer::new(tables, [KINDS * 8, KINDS * 8 * 3, tensors], KINDS, 0.5),
            shapes,
        }
    }

    /// Codes all values: each a sign and a level of 1 to `levels`, or 0 where it is not sent.
    pub fn walk(&mut self, coder: &mut impl Binary, levels: u8, values: &mut [i8]) {
        for (tensor, shape) in self.shapes.shapes.iter().enumerate() {
            let (rows, columns) = match shape.by_line {
                true => (shape.lines, shape.components),
                false => (shape.components, shape.lines),
            };
            let mut seen = Seen::new(columns);
            for (row, values) in values[shape.offset..].chunks_mut(columns).take(rows).enumerate() {
                seen.row = Past::default();
                for (block, values) in values.chunks_mut(BLOCK).enumerate() {
                    self.block(coder, levels, (tensor, shape), (row, block), &mut seen, values);
                }
            }
        }
    }

    /// Codes the neighbours of one block.
    fn block(
        &mut self,
        coder: &mut impl Binary,
        levels: u8,
        (tensor, shape): (usize, &Shape),
        (row, block): (usize, usize),
        seen: &mut Seen,
        values: &mut [i8],
    ) {
        let (kind, from, len) = (shape.kind, block * BLOCK, values.len());
        let (crowd, around) = seen.around(shape.by_line, from..from + len);
        let beside = (seen.last * FOUND + seen.before) * FOUND + seen.above[block];
        let group = if shape.by_line { self.shapes.components + tensor } else { shape.first_component + row };
        let at = [
            kind,
            (kind * (BLOCK + 1) + crowd) * FOUND.pow(3) + beside,
            group,
            kind * AROUND + around,
            tensor * FOUND + seen.last,
        ];
        let any = values.iter().any(|value| *value != 0);
        let any = self.any.code(coder, at, kind, any);
        let mut found = 0;
        for (number, value) in values.iter_mut().enumerate() {
            let column = from + number;
            let (of_row, of_column) = (seen.row, seen.columns[column]);
            let (component, of_line, of_component) = match shape.by_line {
                true => (column, of_row, of_column),
                false => (row, of_column, of_row),
            };
            let place = Place { kind, tensor, component: shape.first_component + component };
            // While none was found, one of those that are left is sent.
            let left = if found == 0 { len - number } else { 0 };
            *value = match any && self.is_sent(coder, place, (of_line, of_component), (left, found), *value != 0) {
                true => self.level(coder, levels, place, (of_line, of_component), *value),
                false => 0,
            };
            found += usize::from(*value != 0);
            seen.row.note(*value);
            seen.columns[column].note(*value);
        }
        let found = found.min(FOUND - 1);
        (seen.before, seen.last, seen.above[block]) = (seen.last, found, found);
    }

    fn is_sent(
        &mut self,
        coder: &mut impl Binary,
        Place { kind, component, .. }: Place,
        (of_line, of_component): (Past, Past),
        (left, found): (usize, usize),
        sent: bool,
    ) -> bool {
        let crowd = usize::from(of_line.sent).min(CROWD - 1);
        let near = usize::from(of_component.last != 0) + usize::from(of_component.before != 0);
        let near = (kind * CROWD + crowd) * 9 + near * 3 + usize::from(of_line.last != 0);
        let at = [kind * (BLOCK + 1) + left, near * FOUND + found.min(FOUND - 1), component];
        left == 1 || self.sent.code(coder, at, kind * 2 + usize::from(left > 0), sent)
    }

    fn level(
        &mut self,
        coder: &mut impl Binary,
        levels: u8,
        Place { kind, tensor, component }: Place,
        (of_line, of_component): (Past, Past),
        value: i8,
    ) -> i8 {
        let sign = |past: Past| (past.latest.signum() + 1) as usize;
        let at = [kind, kind * 9 + sign(of_line) * 3 + sign(of_component), component];
        let negative = self.negative.code(coder, at, kind, value < 0);
        let mut level = 1;
        let high = usize::from(of_line.latest.unsigned_abs() > 1) + usize::from(of_component.latest.unsigned_abs() > 1);
        while level < levels {
            let of_level = kind * 8 + usize::from(level - 1).min(7);
            let at = [of_level, of_level * 3 + high, tensor];
            if !self.higher.code(coder, at, kind, value.unsigned_abs() > level) {
                break;
            }
            level += 1;
        }
        if negative { -(level as i8) } else { level as i8 }
    }
}

/// The values of a tensor that were sent, up to a block.
struct Seen {
    /// Of each column: a line of A, a component of B.
    columns: Vec<Past>,
    /// Of this row: a component of A, a line of B.
    row: Past,
    /// Numbers of values sent: of the block before, of the one before that, and of each block of the row above.
    last: usize,
    before: usize,
    above: Vec<usize>,
}

impl Seen {
    fn new(columns: usize) -> Self {
        let above = vec![0; columns.div_ceil(BLOCK)];
        Self { columns: vec![Past::default(); columns], row: Past::default(), last: 0, before: 0, above }
    }

    /// Values sent in these columns, coarsely and finely: of B in the lines just before, of A in all components.
    fn around(&self, by_line: bool, columns: Range<usize>) -> (usize, usize) {
        let (mut coarse, mut fine) = (0, 0);
        for past in &self.columns[columns] {
            let (last, before) = (usize::from(past.last != 0), usize::from(past.before != 0));
            let (of_coarse, of_fine) = match by_line {
                true => (last, 2 * last + before),
                false => (usize::from(past.sent).min(2), usize::from(past.sent).min(4)),
            };
            (coarse, fine) = (coarse + of_coarse, fine + of_fine);
        }
        (coarse.min(BLOCK), fine)
    }
}

/// The values of a line or of a component that were sent so far.
#[derive(Debug, Clone, Copy, Default)]
struct Past {
    /// Number of values sent.
    sent: u8,
    /// The last value, and the one before it.
    last: i8,
    before: i8,
    /// The last value that was sent.
    latest: i8,
}

impl Past {
    fn note(&mut self, value: i8) {
        (self.before, self.last) = (self.last, value);
        if value != 0 {
            self.sent = self.sent.saturating_add(1);
            self.latest = value;
        }
    }
}
