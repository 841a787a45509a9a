//! The promises of a journal, tried on real files and real processes.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;

use super::*;
use crate::adapter::{Message, Part, ValueCoding};
use crate::journal::{StoredOptimizer, StoredReference};
use crate::wire::{FrameKind, Header, UploadHeader};

fn record() -> RunRecord {
    RunRecord {
        config_hash: "c0ffee".into(),
        layout_hash: "beef".into(),
        seed: 7,
        json: "{}".into(),
        arithmetic: "avx2".into(),
    }
}

/// A frame of about so many bytes: a fifth a policy's own, the rest values.
fn frame(number: u32, bytes: usize) -> Frame {
    let (layout, policy, client, sequence) = (1, 2, number, 0);
    let (kind, upload) = (FrameKind::Upload, UploadHeader { examples: 1, loss: None });
    let values = Part::Values { coding: ValueCoding::F32, values: vec![number as f32; bytes / 5].into() };
    let parts = vec![Part::Bytes(vec![number as u8; bytes / 5]), values];
    Frame::encode(&Header { kind, layout, policy, round: 1, client, sequence, upload }, &Message { parts }).unwrap()
}

fn update(position: u32, bytes: usize) -> StoredUpdate {
    let (frame, meta) = (Some(frame(position, bytes)), format!(r#"{{"loss":{position}}}"#));
    StoredUpdate { position, frame, meta, state: vec![position as u8; bytes % 7] }
}

fn closed(round: u32, values: usize) -> ClosedRound {
    ClosedRound {
        round,
        weights: Arc::new((0..values).map(|value| (value as f32 - 2.5) * round as f32).collect()),
        optimizer: StoredOptimizer { steps: round, moments: vec![0.1 * round as f32; values * 2].into() },
        mean: vec![round as f32 / 3.0; values].into(),
        row: format!(r#"{{"round":{round}}}"#),
        client_rows: format!("a {round}\nb {round}\n"),
        ledger: format!(r#"{{"bytes":{round}}}"#),
        memory: memory([("one", vec![round as u8; round as usize])]),
        references: vec![],
    }
}

fn memory<const N: usize>(parts: [(&str, Vec<u8>); N]) -> BTreeMap<String, Vec<u8>> {
    parts.map(|(name, bytes)| (name.to_owned(), bytes)).into()
}

fn accepted(position: u32) -> Verdict {
    Verdict { position, client: position + 100, accepted: true }
}

fn with_state(position: u32, state: &[u8]) -> StoredUpdate {
    StoredUpdate { state: state.into(), ..update(position, 10) }
}

fn updates(journal: &Journal, round: u32) -> Vec<StoredUpdate> {
    let positions = journal.update_positions(round).unwrap();
    positions.into_iter().map(|position| journal.update(round, position).unwrap().unwrap()).collect()
}

#[test]
fn a_journal_opened_again_has_everything_that_was_committed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    {
        let journal = Journal::create(&path, &record()).unwrap();
        assert_eq!(journal.latest().unwrap(), None);
        journal.put_updates(1, &[update(0, 10)]).unwrap();
        journal.close_round(&closed(1, 40), &[accepted(0)]).unwrap();
        journal.put_updates(2, &[update(5, 0), update(1, 300_000)]).unwrap();
        journal.close_round(&closed(2, 50), &[accepted(1)]).unwrap();
        journal.put_updates(3, &[update(2, 7)]).unwrap();
        journal.put_updates(3, &[update(0, 9), update(2, 8)]).unwrap();
        assert!(journal.last_commit_seconds() > 0.0);
    }
    let (journal, run) = Journal::open(&path).unwrap();
    assert_eq!(run, record());
    assert_eq!(journal.latest().unwrap(), Some(closed(2, 50)));
    assert_eq!(journal.rows().unwrap(), [closed(1, 0).row, closed(2, 0).row]);
    let client_rows: String = journal.rows_after(None).unwrap().into_iter().map(|(.., clients)| clients).collect();
    assert_eq!(client_rows, closed(1, 0).client_rows + &closed(2, 0).client_rows);
    let seen = [100, 101, 105].map(|client| journal.last_seen(client).unwrap());
    assert_eq!(seen, [Some(1), Some(2), None]);
    let states = [100, 101, 105].map(|client| journal.client_state(client).unwrap());
    assert_eq!(states, [Some(update(0, 10).state), Some(update(1, 300_000).state), None]);
    assert_eq!(updates(&journal, 2), []);
    assert_eq!(updates(&journal, 3), [update(0, 9), update(2, 8)]);
}

#[test]
fn only_clients_of_the_aggregate_remember_the_round() {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::create(directory.path(), &record()).unwrap();
    let states = |journal: &Journal| [100, 101, 102].map(|client| journal.client_state(client).unwrap());
    journal.put_updates(1, &[with_state(0, b"zero"), with_state(1, b"one"), with_state(2, b"two")]).unwrap();
    assert_eq!(journal.staged_state(1, 1).unwrap(), Some(b"one".to_vec()));
    assert_eq!(states(&journal), [None, None, None], "nothing is kept before the round is closed");
    let refused = Verdict { accepted: false, ..accepted(2) };
    journal.close_round(&closed(1, 1), &[accepted(0), accepted(1), refused]).unwrap();
    assert_eq!(states(&journal), [Some(b"zero".to_vec()), Some(b"one".to_vec()), None]);

    // Another place in the next cohort; hearing of the end changes what is kept, of a refused update too.
    journal.put_updates(2, &[with_state(0, b"0"), with_state(1, b"1"), with_state(2, b"2")]).unwrap();
    journal.put_settled_states(2, &[(1, b"1, settled".to_vec()), (2, b"two, settled".to_vec())]).unwrap();
    journal.close_round(&closed(2, 1), &[accepted(1), refused]).unwrap();
    assert_eq!(
        states(&journal),
        [Some(b"zero".to_vec()), Some(b"1, settled".to_vec()), Some(b"two, settled".to_vec())]
    );
    assert_eq!([100, 101, 102].map(|client| journal.last_seen(client).unwrap()), [Some(1), Some(2), None]);

    // An update without a change keeps what was there.
    journal.put_updates(3, &[with_state(1, b"gone"), with_state(1, b"")]).unwrap();
    journal.close_round(&closed(3, 1), &[accepted(1)]).unwrap();
    assert_eq!(journal.client_state(101).unwrap(), Some(b"1, settled".to_vec()));
    assert_eq!(journal.last_seen(101).unwrap(), Some(3));
    assert_eq!(journal.staged_state(3, 1).unwrap(), None);
}

#[test]
fn references_come_back_with_the_broadcasts_that_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::create(directory.path(), &record()).unwrap();
    let sent = |number: u32| (number, frame(number, 100_000));
    let reference = |tier, sequence: u32, oldest| StoredReference {
        tier,
        sequence,
        values: Arc::new(vec![sequence as f32; 9]),
        kept: (oldest..=sequence).map(sent).collect(),
    };
    for (round, oldest) in [(1, 1), (2, 1), (3, 2), (4, 4)] {
        let references = vec![reference(0, round, oldest), reference(2, round, 1)];
        let end = ClosedRound { references, ..closed(round, 1) };
        journal.close_round(&end, &[]).unwrap();
        assert_eq!(journal.latest().unwrap(), Some(end));
    }
    let end = ClosedRound { references: vec![StoredReference { kept: vec![], ..reference(0, 5, 9) }], ..closed(5, 1) };
    journal.close_round(&end, &[]).unwrap();
    let references = journal.latest().unwrap().unwrap().references;
    assert_eq!(references, [end.references[0].clone(), reference(2, 4, 1)]);
}

#[test]
fn of_the_servers_memory_only_the_parts_that_changed_are_written() {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::create(directory.path(), &record()).unwrap();
    let bytes = |of: u8| vec![of; 100_000];
    let close = |round, parts| {
        let end = ClosedRound { memory: parts, ..closed(round, 1) };
        journal.close_round(&end, &[]).unwrap();
        let found = journal.latest().unwrap().unwrap().memory;
        found.into_iter().map(|(name, bytes)| (name, bytes[0])).collect::<Vec<_>>()
    };
    let named = |parts: &[(&str, u8)]| parts.iter().map(|(name, of)| ((*name).to_owned(), *of)).collect::<Vec<_>>();
    let all = close(1, memory([("a", bytes(1)), ("b", bytes(2)), ("c", bytes(3))]));
    assert_eq!(all, named(&[("a", 1), ("b", 2), ("c", 3)]));
    assert_eq!(close(2, memory([("b", vec![4])])), named(&[("a", 1), ("b", 4), ("c", 3)]));
    assert_eq!(close(3, memory([("a", vec![]), ("z", vec![])])), named(&[("b", 4), ("c", 3)]));
    assert_eq!(close(4, memory([("d", bytes(5)), ("c", bytes(6))])), named(&[("b", 4), ("c", 6), ("d", 5)]));
    assert_eq!(close(5, memory([])), named(&[("b", 4), ("c", 6), ("d", 5)]));
}

#[test]
fn a_closed_round_takes_no_more_writes() {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::create(directory.path(), &record()).unwrap();
    journal.close_round(&closed(4, 1), &[]).unwrap();
    for error in [journal.put_updates(4, &[update(0, 1)]), journal.close_round(&closed(3, 1), &[])] {
        assert!(matches!(error, Err(JournalError::RoundClosed { closed: 4, .. })), "{error:?}");
    }
    assert_eq!(updates(&journal, 4), []);
}

#[test]
fn a_journal_that_is_missing_there_already_or_in_use_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let text = |result: Result<(), JournalError>| result.unwrap_err().to_string();
    let open = || Journal::open(directory.path()).map(|_| ());
    assert!(text(open()).ends_with("journal.redb does not exist: nothing to resume"));
    let journal = Journal::create(directory.path(), &record()).unwrap();
    assert!(text(open()).ends_with("journal.redb is in use by another process"));
    assert!(text(Journal::create(directory.path(), &record()).map(|_| ())).contains("exists already"));
    journal
        .write(|transaction| {
            transaction.open_table(META)?.insert("format", 9_u32.to_le_bytes().as_slice())?;
            Ok(())
        })
        .unwrap();
    drop(journal);
    assert!(text(open()).ends_with("has journal format 9, this build reads format 4"));
}

#[test]
fn a_cut_or_altered_file_gives_an_error_or_what_was_committed() {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::create(directory.path(), &record()).unwrap();
    journal.put_updates(1, &[update(0, 5000)]).unwrap();
    journal.close_round(&closed(1, 5000), &[]).unwrap();
    journal.put_updates(2, &[update(0, 5000)]).unwrap();
    drop(journal);
    let path = directory.path().join(FILE);
    let good = fs::read(&path).unwrap();
    let mut opened = 0;
    let mut check = |bytes: &[u8], what: String| {
        fs::write(&path, bytes).unwrap();
        match Journal::open(directory.path()) {
            Ok((journal, _)) => {
                opened += 1;
                assert_eq!(journal.latest().unwrap(), Some(closed(1, 5000)), "{what}");
                assert_eq!(updates(&journal, 2), [update(0, 5000)], "{what}");
            }
            Err(error) => assert!(error.to_string().contains("journal.redb"), "{what}: {error}"),
        }
    };
    for length in (0..16).map(|part| good.len() * part / 16).chain([1, 100, 4095, 4097, good.len() - 1]) {
        check(&good[..length], format!("cut to {length} bytes"));
    }
    for part in 0..64 {
        let at = good.len() * part / 64 + part;
        let mut altered = good.clone();
        altered[at] ^= 0x40;
        check(&altered, format!("byte {at}"));
    }
    check(b"this is not a database", "text".into());
    check(&good, "whole".into());
    println!("{opened} of the altered files opened with everything in them");
    assert!(opened >= 1);
}

#[test]
fn the_file_does_not_grow_with_the_number_of_rounds() {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::create(directory.path(), &record()).unwrap();
    let mut sizes = Vec::new();
    for round in 1..=50 {
        for position in 0..8 {
            journal.put_updates(round, &[update(position, 200_000)]).unwrap();
        }
        journal.close_round(&closed(round, 50_000), &[]).unwrap();
        sizes.push(journal.bytes_on_disk().unwrap());
    }
    println!("bytes on disk after rounds 1, 10, 50: {} {} {}", sizes[0], sizes[9], sizes[49]);
    assert_eq!(sizes[9], sizes[49]);
    assert!(sizes[49] < 12 << 20, "{}", sizes[49]);
}

const CHILD: &str = "CELLM_TEST_JOURNAL";

/// Runs one test of this binary in a process of its own, which finds the directory in its environment.
fn child(test: &str, directory: &Path, shell: &str) -> std::process::Child {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{shell}exec \"$0\" \"$@\"")]).arg(std::env::current_exe().unwrap());
    command.args(["--exact", &format!("journal::store::tests::{test}"), "--nocapture"]);
    command.env(CHILD, directory).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn kill_nine_leaves_the_last_acknowledged_commit() {
    if let Some(directory) = std::env::var_os(CHILD) {
        let journal = Journal::create(Path::new(&directory), &record()).unwrap();
        for round in 1.. {
            for position in 0..4 {
                journal.put_updates(round, &[update(position, 60_000)]).unwrap();
                println!("\nput {round} {position}");
            }
            journal.close_round(&closed(round, 20_000), &[accepted(3)]).unwrap();
            println!("\nclosed {round}");
        }
    }
    for commits in [1, 4, 5, 13, 42] {
        let directory = tempfile::tempdir().unwrap();
        let mut process = child("kill_nine_leaves_the_last_acknowledged_commit", directory.path(), "");
        let lines = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut lines = lines.filter(|line| line.starts_with("put ") || line.starts_with("closed "));
        let mut acknowledged: Vec<String> = lines.by_ref().take(commits).collect();
        process.kill().unwrap();
        process.wait().unwrap();
        acknowledged.extend(lines);
        assert!(acknowledged.len() >= commits);

        // The commit after the last acknowledged one may or may not have made it.
        let done = acknowledged.len() as u32;
        let (journal, _) = Journal::open(directory.path()).unwrap();
        let round = journal.latest().unwrap().map_or(0, |closed| closed.round);
        let stored = updates(&journal, round + 1);
        let found = round * 5 + stored.len() as u32;
        assert!(found == done || found == done + 1, "{found} commits found, {done} acknowledged");
        assert_eq!(stored, (0..stored.len() as u32).map(|at| update(at, 60_000)).collect::<Vec<_>>());
        if round > 0 {
            assert_eq!(journal.latest().unwrap(), Some(closed(round, 20_000)));
            assert_eq!(journal.last_seen(103).unwrap(), Some(round));
            assert_eq!(journal.client_state(103).unwrap(), Some(update(3, 60_000).state));
        }
        journal.close_round(&closed(round + 1, 20_000), &[]).unwrap();
    }
}

#[test]
fn a_full_disk_is_a_clear_error_and_loses_nothing_committed() {
    if let Some(directory) = std::env::var_os(CHILD) {
        let journal = Journal::create(Path::new(&directory), &record()).unwrap();
        journal.close_round(&closed(1, 20_000), &[]).unwrap();
        for position in 0..1000 {
            if let Err(error) = journal.put_updates(2, &[update(position, 200_000)]) {
                println!("\nstored {position}\n{error}");
                println!("then {}", journal.put_updates(2, &[update(0, 1)]).unwrap_err());
                return;
            }
        }
    }
    let directory = tempfile::tempdir().unwrap();
    // A file size limit stands for the full disk; the signal that comes with it is ignored.
    let limit = "trap '' XFSZ; ulimit -f 12000; ";
    let process = child("a_full_disk_is_a_clear_error_and_loses_nothing_committed", directory.path(), limit);
    let output = String::from_utf8(process.wait_with_output().unwrap().stdout).unwrap();
    let stored = output.lines().find_map(|line| line.strip_prefix("stored ")).expect(&output).parse().unwrap();
    assert!((8..200).contains(&stored), "{output}");
    assert!(output.contains("no space left for ") && output.contains("nothing committed is lost"), "{output}");

    let (journal, _) = Journal::open(directory.path()).unwrap();
    assert_eq!(journal.latest().unwrap(), Some(closed(1, 20_000)));
    assert_eq!(updates(&journal, 2), (0..stored).map(|at| update(at, 200_000)).collect::<Vec<_>>());
    journal.put_updates(2, &[update(stored, 200_000)]).unwrap();
    println!("{output}");
}
