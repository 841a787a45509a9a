//! The server's memory of every shrink of the mask, so that a client that missed some is told exactly those: masks
//! are nested, hence one byte a coordinate holds all of them. In memory under `dropped.TIER`.

use cellm_masks::Mask;
use cellm_plugin::{Context, PolicyError, load_bytes, save_bytes};

/// All shrinks of a tier's mask.
pub struct History {
    /// The rounds of the shrinks, in order.
    rounds: Vec<u32>,
    /// For each coordinate the number of the shrink that dropped it, from 1; 0 while it is in the mask.
    dropped: Vec<u8>,
}

impl History {
    /// The history in the server's memory; one without a shrink where the memory has none.
    pub fn load(context: &Context, space: u32) -> Result<Self, PolicyError> {
        let Some(bytes) = load_bytes(&key(context)) else {
            return Ok(Self { rounds: Vec::new(), dropped: vec![0; space as usize] });
        };
        let expected = bytes.first().map(|shrinks| 1 + 4 * usize::from(*shrinks) + space as usize);
        if expected != Some(bytes.len()) {
            let (key, found) = (key(context), bytes.len());
            return Err(PolicyError::Other(format!("memory entry {key}: {found} bytes found, {expected:?} expected")));
        }
        let (head, dropped) = bytes.split_at(bytes.len() - space as usize);
        let rounds = head[1..].chunks_exact(4).filter_map(|four| four.try_into().ok().map(u32::from_le_bytes));
        Ok(Self { rounds: rounds.collect(), dropped: dropped.to_vec() })
    }

    /// Keeps it in the server's memory.
    pub fn save(&self, context: &Context) {
        let mut bytes = vec![self.rounds.len() as u8];
        bytes.extend(self.rounds.iter().flat_map(|round| round.to_le_bytes()));
        bytes.extend(&self.dropped);
        save_bytes(&key(context), &bytes);
    }

    /// Adds the shrink from one mask to a part of it.
    pub fn shrink(&mut self, from: &Mask, to: &Mask, round: u32) -> Result<(), PolicyError> {
        let Some(number) = u8::try_from(self.rounds.len() + 1).ok() else {
            return Err(PolicyError::Other(format!("shrink in round {round}: 255 shrinks are the most that fit")));
        };
        self.rounds.push(round);
        for index in from.indices() {
            self.dropped[index as usize] = number;
        }
        for index in to.indices() {
            self.dropped[index as usize] = 0;
        }
        Ok(())
    }

    /// The catch-up of a client that has the mask of round `seen`, before the broadcast of `round`: the positions
    /// that stay, and the number of positions. None where it has missed nothing.
    pub fn missed(&self, seen: u32, round: u32) -> Option<(Vec<u32>, u32)> {
        let until = |last: u32| self.rounds.partition_point(|shrunk| *shrunk <= last);
        let (has, needs) = (until(seen), until(round.saturating_sub(1)));
        if has >= needs {
            return None;
        }
        let there_after = |shrinks: usize| move |number: &u8| *number == 0 || usize::from(*number) > shrinks;
        let present = self.dropped.iter().filter(|number| there_after(has)(number));
        let positions: Vec<(u32, &u8)> = (0..).zip(present).collect();
        let stay = positions.iter().filter(|(_, number)| there_after(needs)(number)).map(|(position, _)| *position);
        Some((stay.collect(), positions.len() as u32))
    }
}

fn key(context: &Context) -> String {
    format!("dropped.{}", context.tier)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Eight coordinates; round 3 drops 1 and 5, round 5 drops 0, 2 and 6.
    fn history() -> History {
        History { rounds: vec![3, 5], dropped: vec![2, 1, 2, 0, 0, 1, 2, 0] }
    }

    #[test]
    fn a_newcomer_is_told_what_is_left_of_everything() {
        assert_eq!(history().missed(0, 9), Some((vec![3, 4, 7], 8)));
    }

    #[test]
    fn who_missed_one_shrink_is_told_what_is_left_of_what_it_has() {
        assert_eq!(history().missed(4, 9), Some((vec![2, 3, 5], 6)));
    }

    #[test]
    fn the_shrink_of_the_round_itself_is_the_broadcasts_to_tell() {
        assert_eq!(history().missed(0, 5), Some((vec![0, 2, 3, 4, 6, 7], 8)));
        assert_eq!(history().missed(3, 5), None);
        assert_eq!(history().missed(0, 3), None);
    }

    #[test]
    fn who_took_part_since_has_missed_nothing() {
        assert_eq!(history().missed(5, 9), None);
    }
}
