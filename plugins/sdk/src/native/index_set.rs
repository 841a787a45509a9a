//! Sorted distinct coordinates, natively.

use std::rc::Rc;

use super::{expect_fit, range};

/// Sorted distinct coordinates below `space`.
#[derive(Debug, Clone)]
pub struct IndexSet {
    pub(super) space: u32,
    pub(super) indices: Rc<Vec<u32>>,
}

impl IndexSet {
    pub(super) fn new(space: u32, indices: Vec<u32>) -> Self {
        Self { space, indices: Rc::new(indices) }
    }

    /// Coordinates must be strictly increasing and below `space`; else the error says which is not.
    pub fn from_list(space: u32, indices: &[u32]) -> Result<Self, String> {
        let mut least = 0_u64;
        for (place, index) in indices.iter().enumerate() {
            if u64::from(*index) < least {
                return Err(format!("index {index} at place {place} is not above the one before"));
            }
            if *index >= space {
                return Err(format!("index {index} at place {place} is not below {space}"));
            }
            least = u64::from(*index) + 1;
        }
        Ok(Self::new(space, indices.to_vec()))
    }

    /// The bound that all coordinates are below.
    pub fn space(&self) -> u32 {
        self.space
    }

    /// Number of coordinates.
    pub fn count(&self) -> u32 {
        self.indices.len() as u32
    }

    /// Coordinates number `offset` to `offset + count - 1`.
    pub fn read(&self, offset: u32, count: u32) -> Vec<u32> {
        range("index-set.read", &self.indices, offset, count).to_vec()
    }

    /// Runs of `width` coordinates, the first at `offset`, one every `stride`, `times` of them.
    pub fn runs(space: u32, offset: u32, width: u32, stride: u32, times: u32) -> Self {
        assert!(stride >= width || times <= 1, "index-set.runs: runs of {width} every {stride}");
        let end = u64::from(offset) + u64::from(times.saturating_sub(1)) * u64::from(stride) + u64::from(width);
        assert!(end <= u64::from(space) || width == 0 || times == 0, "index-set.runs: coordinate {end} of {space}");
        Self::new(space, cellm_kernels::runs(offset, width, stride, times))
    }

    /// Coordinates of either.
    pub fn union(&self, other: &Self) -> Self {
        expect_fit("index-set.union", self.space as usize, other.space as usize);
        Self::new(self.space, cellm_kernels::union(&self.indices, &other.indices))
    }

    /// Coordinates of both.
    pub fn intersection(&self, other: &Self) -> Self {
        expect_fit("index-set.intersection", self.space as usize, other.space as usize);
        Self::new(self.space, cellm_kernels::intersection(&self.indices, &other.indices))
    }

    /// Coordinates below `space` that are not in it.
    pub fn complement(&self) -> Self {
        Self::new(self.space, cellm_kernels::complement(self.space, &self.indices))
    }
}
