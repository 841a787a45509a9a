//! Unusable records: their number, and the first of them by name.

/// Records that were left out of the data, each with its file, its position in it and the reason.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeftOut {
    count: usize,
    first: Vec<String>,
}

/// Records that are named; the others are counted.
const NAMED: usize = 10;

impl LeftOut {
    /// Adds a record; `what` names it and its problem.
    pub(super) fn add(&mut self, what: impl FnOnce() -> String) {
        self.count += 1;
        if self.first.len() < NAMED {
            self.first.push(what());
        }
    }

    /// Number of records that were left out.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The messages of the first of them.
    pub fn first(&self) -> &[String] {
        &self.first
    }

    /// One sentence on all of them; none where no record was left out. `records` is the number of records kept.
    pub fn warning(&self, records: usize) -> Option<String> {
        let named = self.first.join("; ");
        let others = match self.count - self.first.len() {
            0 => String::new(),
            others => format!("; and {others} more"),
        };
        let (count, all) = (self.count, self.count + records);
        (count > 0).then(|| format!("{count} of {all} records are left out (data.invalid is skip): {named}{others}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_counted_and_the_first_are_named() {
        let mut left_out = LeftOut::default();
        assert_eq!(left_out.warning(3), None);
        (1..=12).for_each(|line| left_out.add(|| format!("line {line}")));
        let warning = left_out.warning(3).unwrap();
        assert!(
            warning.starts_with("12 of 15 records are left out (data.invalid is skip): line 1; line 2; "),
            "{warning}"
        );
        assert!(warning.ends_with("line 10; and 2 more") && left_out.count() == 12, "{warning}");
    }
}
