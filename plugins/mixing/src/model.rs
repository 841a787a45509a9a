//! What is known of a value before it is coded: its tensor, its component of the rank, its line (the column of A or the row of
//! B that it belongs to), and what was sent of its neighbours.
//!
//! Large changes crowd in lines (a feature that many components read or write) and in components. More contexts (the tensor,
//! the line in all tensors of its width) made messages 0.9% shorter in twice the time.

use cellm_plugin::{Layout, Role};

use crate::mixer::{Mixer, Tables};
use crate::range::Binary;

/// Kinds of tensors that have statistics of their own: A, B, all others.
const KINDS: usize = 3;

/// How many values of the same line were sent before, counted up to here.
const CROWD: usize = 4;

/// How a tensor lies in the flat vector.
#[derive(Debug, Clone, Copy)]
struct Shape {
    kind: usize,
    offset: usize,
    /// Components times lines.
    components: usize,
    lines: usize,
    /// Whether one line's values are neighbours in the vector, as in B.
    by_line: bool,
    /// Where its components are counted among those of all tensors.
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
    sent: Mixer<'a, 3>,
    negative: Mixer<'a, 3>,
    higher: Mixer<'a, 3>,
}

impl<'a> Model<'a> {
    /// Before the first value. `density` is the share that is expected to be sent.
    pub fn new(shapes: &'a Shapes, tables: &'a Tables, density: f32) -> Self {
        let tensors = shapes.shapes.len();
        Self {
            sent: Mixer::new(tables, [KINDS, KINDS * CROWD * 9, shapes.components], KINDS, density),
            negative: Mixer::new(tables, [KINDS, KINDS * 9, shapes.components], KINDS, 0.5),
            higher: Mixer::new(tables, [KINDS * 8, KINDS * 8 * 3, tensors], KINDS, 0.5),
            shapes,
        }
    }

    /// Codes all values: each a sign and a level of 1 to `levels`, or 0 where it is not sent.
    pub fn walk(&mut self, coder: &mut impl Binary, levels: u8, values: &mut [i8]) {
        for (tensor, shape) in self.shapes.shapes.iter().enumerate() {
            // What is known of each line and of each component in this tensor.
            let mut lines = vec![Past::default(); shape.lines];
            let mut components = vec![Past::default(); shape.components];
            for step in 0..shape.components * shape.lines {
                let (line, component) = match shape.by_line {
                    true => (step / shape.components, step % shape.components),
                    false => (step % shape.lines, step / shape.lines),
                };
                let Some(value) = values.get_mut(shape.offset + step) else { break };
                let (of_line, of_component) = (lines[line], components[component]);
                let crowd = usize::from(of_line.sent).min(CROWD - 1);
                let near = usize::from(of_component.last != 0) + usize::from(of_component.before != 0);
                let at = [
                    shape.kind,
                    (shape.kind * CROWD + crowd) * 9 + near * 3 + usize::from(of_line.last != 0),
                    shape.first_component + component,
                ];
                *value = if self.sent.code(coder, at, shape.kind, *value != 0) {
                    self.level(
                        coder,
                        levels,
                        (shape.kind, tensor, shape.first_component + component),
                        (of_line, of_component),
                        *value,
                    )
                } else {
                    0
                };
                lines[line].note(*value);
                components[component].note(*value);
            }
        }
    }

    fn level(
        &mut self,
        coder: &mut impl Binary,
        levels: u8,
        (kind, tensor, component): (usize, usize, usize),
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

/// What was sent of a line or of a component so far.
#[derive(Debug, Clone, Copy, Default)]
struct Past {
    /// How many values were sent.
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
