//! Between rounds: clients hear how their uploads ended, what goes down next is encoded and evaluated, and the next round
//! begins.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::actor::{Internal, Looked, ServerRef, beside, send};
use super::round::{Input, Round};
use super::state::{Ending, Excluded, Open, Phase, ServerState};
use super::tally::Outcomes;
use super::view::{self, Outlook};
use super::{ServerError, acknowledging, closing, sampler};
use crate::aggregator::{AggregatorMsg, Opening};
use crate::pool::PoolError;

impl ServerState {
    /// Encodes and evaluates the present weights, or those of a round that is ending.
    pub(super) fn look(&mut self, myself: &ServerRef, ending: Option<Box<Ending>>) {
        let (round, model, trackers, memories) = match &ending {
            Some(ending) => (ending.row.round, &ending.model, ending.trackers.clone(), ending.memories.clone()),
            None => (self.closed, &self.model, self.trackers.clone(), self.memories.clone()),
        };
        // Of a resumed run the last round is in the stored mean already, and was evaluated.
        let missing = ending.is_some() || self.ledger.unseen;
        let share = missing.then(|| closing::share_of_mean(self.args.config.ema_decay, round));
        let mean = model.mean.clone().map(|mean| (mean, share));
        let evaluate = self.evaluates(round) && ending.is_some();
        let (weights, tiers) = (model.weights.clone(), self.tiers_in_use.clone());
        let outlook = Outlook { weights, round, evaluate, tiers, trackers, memories, mean };
        let (participants, journal) = (self.args.participants.clone(), self.args.journal.clone());
        let (stop, window) = (self.stop.clone(), self.args.window);
        self.phase = Phase::Looking;
        let reply_to = myself.clone();
        beside(myself, "the look at what comes next", async move {
            let heard = match &ending {
                Some(ending) => acknowledging::hear(ending, window, &participants, &journal).await,
                None => Ok(Some(Vec::new())),
            };
            let looked = match heard {
                Ok(None) => return,
                Ok(Some(warnings)) => {
                    let view = view::look(outlook, &participants, &stop).await;
                    Ok(Looked { ending, warnings, view })
                }
                Err(error) => Err(error),
            };
            send(&reply_to, Internal::Looked(looked));
        });
    }

    pub(super) fn looked(&mut self, myself: &ServerRef, looked: Result<Looked, ServerError>) {
        let Looked { ending, warnings, view } = match looked {
            Ok(looked) => looked,
            // A stopped server cancels the evaluation; what is closed stays.
            Err(_) if self.stop.load(Ordering::Relaxed) => return self.finish(myself, true),
            Err(error) => return self.fail(myself, error),
        };
        warnings.into_iter().for_each(|warning| self.tell(super::ServerEvent::Warning(warning)));
        let view = match view {
            Ok(view) => view,
            Err(_) if self.stop.load(Ordering::Relaxed) => return self.finish(myself, true),
            Err(error) => return self.unmade(myself, ending, error),
        };
        let Some(mut ending) = ending else {
            if self.ledger.unseen {
                self.ledger.unseen = false;
                self.model.mean = self.model.mean.take().map(|_| view.result.clone());
            }
            self.view = Some(view);
            return self.next(myself);
        };
        self.ledger.unseen = false;
        ending.row.eval_loss = view.result_worth.map(|worth| worth.loss());
        ending.row.eval_metric = view.result_worth.map(|worth| worth.accuracy());
        ending.row.eval_loss_dense_copy = view.dense_worth.map(|worth| worth.loss());
        ending.model.mean = ending.model.mean.map(|_| view.result.clone());
        ending.view = Some(view);
        self.store_end(myself, ending);
    }

    /// What goes down next cannot be made. A round that has ended is closed first, as far as it can be seen.
    fn unmade(&mut self, myself: &ServerRef, ending: Option<Box<Ending>>, error: ServerError) {
        let of_policy = match &error {
            ServerError::Download { .. } => true,
            ServerError::Pool { source, .. } => matches!(source, PoolError::Crashed { .. }),
            _ => false,
        };
        match ending.filter(|ending| of_policy && ending.row.round > 0) {
            Some(mut ending) => {
                self.ledger.unseen = true;
                ending.unmade = Some(error);
                self.store_end(myself, ending);
            }
            None => self.fail(myself, error),
        }
    }

    /// Begins the next round, or ends the run.
    pub(super) fn next(&mut self, myself: &ServerRef) {
        if self.closed >= self.args.rounds {
            return self.finish(myself, false);
        }
        if self.stop.load(Ordering::Relaxed) {
            return self.finish(myself, true);
        }
        let stored = std::mem::take(&mut self.args.resume.stored);
        self.open(myself, stored, Excluded::new());
    }

    /// Begins the round after the last closed one. `stored` are the places whose answer is in the journal.
    pub(super) fn open(&mut self, myself: &ServerRef, stored: Vec<u32>, excluded: Excluded) {
        let Some(view) = &self.view else { return };
        let number = self.closed + 1;
        self.ledger = self.closed_ledger;
        self.openings += 1;
        let config = &self.args.config;
        let clients = self.args.participants.shards.clients() as u32;
        let candidates = sampler::sample(self.args.seed, number, clients, config.sampled());
        let cohort = config.cohort.min(candidates.len());
        let quorum = config.quorum_of(cohort);
        let cancels = candidates.iter().map(|_| Arc::new(AtomicBool::new(false))).collect();
        let opening = Opening {
            number: self.openings,
            round: number,
            cohort: cohort as u32,
            base: view.shown.clone(),
            memories: view.memories.clone(),
        };
        let mut open = Open {
            number,
            opening: self.openings,
            excluded,
            outcomes: Outcomes::default(),
            machine: Round::new(candidates.len(), cohort, quorum, self.args.window, &stored),
            turns: vec![None; candidates.len()],
            candidates,
            started: Instant::now(),
            losses: Vec::new(),
            client_rows: Vec::new(),
            last_drop: None,
            cancels,
        };
        if self.args.aggregator.cast(AggregatorMsg::Begin { opening }).is_err() {
            // The supervisor sees the aggregator's end too, and starts this server again with a new one.
            return;
        }
        let effects = open.machine.handle(Input::Begin);
        self.phase = Phase::Round(Box::new(open));
        self.apply(myself, effects);
    }
}
