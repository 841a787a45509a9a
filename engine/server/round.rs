//! One round as a pure state machine: inputs in, effects out, no clock, no actor, no randomness.
//!
//! The candidates are the cohort, then stand-ins. A candidate is *asked* (or its stored answer *replayed*), it
//! *answers* or is *lost*, its answer is *accepted* or *refused* by the aggregator in candidate order. Each one that
//! falls out makes room for a stand-in, while there are any. At most `window` candidates are between asked and
//! accepted, which bounds the memory of a round whatever the size of its cohort.

use std::collections::VecDeque;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// The round may begin.
    Begin,
    /// A candidate's answer is here and was offered to the aggregator.
    Answered(u32),
    /// A candidate's actor crashed.
    Crashed(u32),
    /// A candidate failed, or was too late.
    Lost(u32),
    /// The aggregator has taken a candidate's update.
    Accepted(u32),
    /// The aggregator has refused a candidate's update.
    Refused(u32),
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Send the candidate its assignment.
    Ask(u32),
    /// Offer the candidate's stored answer.
    Replay(u32),
    /// Tell the aggregator that nothing comes from this candidate.
    Skip(u32),
    /// Every candidate is through and the quorum is reached: finish the aggregate.
    Finish,
    /// Every candidate is through and the quorum is missed.
    Miss,
}

/// How often a candidate whose actor crashes is asked.
const ATTEMPTS: u32 = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Not asked yet; `true` when its answer is stored.
    OpenRound(bool),
    Asked {
        attempts: u32,
    },
    Answered,
    Accepted,
    Dropped,
}

/// The state of one round.
#[derive(Debug, Clone)]
pub struct Round {
    places: Vec<Place>,
    /// Candidates that take part: the cohort, and a stand-in for each one dropped.
    active: usize,
    /// Active candidates that wait to be asked, in order.
    queue: VecDeque<u32>,
    in_flight: usize,
    window: usize,
    quorum: usize,
    over: bool,
}

impl Round {
    /// A round over `candidates` clients of which the first `cohort` are asked and the rest are stand-ins.
    ///
    /// `quorum` is the number of accepted updates that make the round count, `stored` the candidates whose answer
    /// lies in the journal.
    pub fn new(candidates: usize, cohort: usize, quorum: usize, window: usize, stored: &[u32]) -> Self {
        assert!(cohort <= candidates && window > 0, "a cohort of candidates and room for one");
        let mut places = vec![Place::OpenRound(false); candidates];
        for position in stored {
            if let Some(place) = places.get_mut(*position as usize) {
                *place = Place::OpenRound(true);
            }
        }
        let queue = (0..cohort as u32).collect();
        Self { places, active: cohort, queue, in_flight: 0, window, quorum: quorum.max(1), over: false }
    }

    /// Takes one input. Inputs that do not fit the candidate's state (late, repeated) do nothing.
    pub fn handle(&mut self, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        match (input, self.place(input)) {
            (Input::Begin, _) => {}
            (Input::Answered(position), Some(Place::Asked { .. })) => self.set(position, Place::Answered),
            (Input::Crashed(position), Some(Place::Asked { attempts })) if attempts < ATTEMPTS => {
                self.set(position, Place::Asked { attempts: attempts + 1 });
                effects.push(Effect::Ask(position));
            }
            (Input::Crashed(position) | Input::Lost(position), Some(Place::Asked { .. })) => {
                effects.push(Effect::Skip(position));
                self.resolve(position, Place::Dropped);
            }
            (Input::Refused(position), Some(Place::Answered)) => self.resolve(position, Place::Dropped),
            (Input::Accepted(position), Some(Place::Answered)) => self.resolve(position, Place::Accepted),
            _ => return effects,
        }
        self.fill_window(&mut effects);
        self.end(&mut effects);
        effects
    }

    /// Candidates that were asked, or whose stored answer was replayed, so far.
    pub fn asked(&self) -> u32 {
        self.active as u32
    }

    /// Updates in the aggregate so far.
    pub fn accepted(&self) -> u32 {
        self.count(Place::Accepted)
    }

    /// Candidates that fell out so far.
    pub fn dropped(&self) -> u32 {
        self.count(Place::Dropped)
    }

    /// Accepted updates that make the round count.
    pub fn quorum(&self) -> usize {
        self.quorum
    }

    fn count(&self, wanted: Place) -> u32 {
        self.places.iter().filter(|place| **place == wanted).count() as u32
    }

    fn place(&self, input: Input) -> Option<Place> {
        match input {
            Input::Begin => None,
            Input::Answered(position)
            | Input::Crashed(position)
            | Input::Lost(position)
            | Input::Accepted(position)
            | Input::Refused(position) => self.places.get(position as usize).copied(),
        }
    }

    fn set(&mut self, position: u32, place: Place) {
        self.places[position as usize] = place;
    }

    fn resolve(&mut self, position: u32, place: Place) {
        self.set(position, place);
        self.in_flight -= 1;
        if place == Place::Dropped && self.active < self.places.len() {
            self.queue.push_back(self.active as u32);
            self.active += 1;
        }
    }

    fn fill_window(&mut self, effects: &mut Vec<Effect>) {
        while self.in_flight < self.window {
            let Some(position) = self.queue.pop_front() else { return };
            let stored = self.places[position as usize] == Place::OpenRound(true);
            self.set(position, Place::Asked { attempts: 1 });
            self.in_flight += 1;
            effects.push(if stored { Effect::Replay(position) } else { Effect::Ask(position) });
        }
    }

    fn end(&mut self, effects: &mut Vec<Effect>) {
        if self.over || self.in_flight > 0 || !self.queue.is_empty() {
            return;
        }
        self.over = true;
        effects.push(if self.accepted() as usize >= self.quorum { Effect::Finish } else { Effect::Miss });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_round_ends_when_the_whole_cohort_is_accepted() {
        let mut round = Round::new(2, 2, 1, 8, &[]);
        assert_eq!(round.handle(Input::Begin), [Effect::Ask(0), Effect::Ask(1)]);
        assert_eq!(round.handle(Input::Answered(1)), []);
        assert_eq!(round.handle(Input::Answered(0)), []);
        assert_eq!(round.handle(Input::Accepted(0)), []);
        assert_eq!(round.handle(Input::Accepted(1)), [Effect::Finish]);
        assert_eq!(round.handle(Input::Accepted(1)), []);
    }

    #[test]
    fn the_window_bounds_what_is_in_flight() {
        let mut round = Round::new(3, 3, 1, 1, &[]);
        assert_eq!(round.handle(Input::Begin), [Effect::Ask(0)]);
        assert_eq!(round.handle(Input::Answered(0)), []);
        assert_eq!(round.handle(Input::Accepted(0)), [Effect::Ask(1)]);
    }

    #[test]
    fn a_crashed_client_is_asked_once_more_then_dropped() {
        let mut round = Round::new(2, 2, 1, 8, &[]);
        round.handle(Input::Begin);
        assert_eq!(round.handle(Input::Crashed(0)), [Effect::Ask(0)]);
        assert_eq!(round.handle(Input::Crashed(0)), [Effect::Skip(0)]);
        round.handle(Input::Answered(1));
        assert_eq!(round.handle(Input::Accepted(1)), [Effect::Finish]);
        assert_eq!((round.asked(), round.accepted(), round.dropped()), (2, 1, 1));
    }

    #[test]
    fn a_stand_in_takes_the_place_of_a_lost_client() {
        let mut round = Round::new(3, 2, 2, 8, &[]);
        round.handle(Input::Begin);
        assert_eq!(round.handle(Input::Lost(0)), [Effect::Skip(0), Effect::Ask(2)]);
        for position in [1, 2] {
            round.handle(Input::Answered(position));
        }
        round.handle(Input::Accepted(1));
        assert_eq!(round.handle(Input::Accepted(2)), [Effect::Finish]);
    }

    #[test]
    fn a_missed_quorum_is_told() {
        let mut round = Round::new(2, 2, 2, 8, &[]);
        round.handle(Input::Begin);
        round.handle(Input::Lost(0));
        round.handle(Input::Answered(1));
        assert_eq!(round.handle(Input::Accepted(1)), [Effect::Miss]);
    }

    #[test]
    fn a_stored_answer_is_replayed_not_asked_for() {
        let mut round = Round::new(2, 2, 1, 8, &[1]);
        assert_eq!(round.handle(Input::Begin), [Effect::Ask(0), Effect::Replay(1)]);
    }

    proptest! {
        /// Whatever happens in whatever order, a round ends exactly once, with every active candidate resolved,
        /// and never has more than the window in flight.
        #[test]
        fn every_round_ends_exactly_once(
            cohort in 1_usize..12, extra in 0_usize..4, window in 1_usize..6,
            fates in prop::collection::vec(0_u8..4, 16), picks in prop::collection::vec(0_usize..64, 200),
        ) {
            let mut round = Round::new(cohort + extra, cohort, cohort, window, &[]);
            let mut asked: Vec<u32> = Vec::new();
            let mut answered: Vec<u32> = Vec::new();
            let mut ends = 0;
            let mut apply = |effects: Vec<Effect>, asked: &mut Vec<u32>| {
                for effect in effects {
                    match effect {
                        Effect::Ask(position) | Effect::Replay(position) => asked.push(position),
                        Effect::Finish | Effect::Miss => ends += 1,
                        Effect::Skip(_) => {}
                    }
                }
            };
            apply(round.handle(Input::Begin), &mut asked);
            for pick in picks {
                prop_assert!(asked.len() + answered.len() <= window);
                if pick % 2 == 0 && !asked.is_empty() {
                    let position = asked.swap_remove(pick % asked.len());
                    let input = match fates[position as usize] {
                        0 => Input::Lost(position),
                        1 => Input::Crashed(position),
                        _ => { answered.push(position); Input::Answered(position) }
                    };
                    apply(round.handle(input), &mut asked);
                } else if !answered.is_empty() {
                    let position = answered.swap_remove(pick % answered.len());
                    let refused = fates[position as usize] == 2 && pick % 3 == 0;
                    let input = if refused { Input::Refused(position) } else { Input::Accepted(position) };
                    apply(round.handle(input), &mut asked);
                }
            }
            if asked.is_empty() && answered.is_empty() {
                prop_assert_eq!(ends, 1);
                prop_assert_eq!(round.accepted() + round.dropped(), round.asked());
            } else {
                prop_assert_eq!(ends, 0);
            }
        }
    }
}
