//! What a journal promises, tried on real files and real processes.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use super::*;

fn record() -> RunRecord {
    RunRecord { config_hash: "c0ffee".into(), layout_hash: "beef".into(), seed: 7, json: "{}".into() }
}

fn update(position: u32, bytes: usize) -> StoredUpdate {
    let client = position + 100;
    StoredUpdate { position, client, frame: vec![position as u8; bytes], meta: format!(r#"{{"loss":{position}}}"#) }
}

fn closed(round: u32, values: usize) -> ClosedRound {
    ClosedRound {
        round,
        weights: (0..values).map(|value| (value as f32 - 2.5) * round as f32).collect(),
        optimizer: vec![round as u8; values * 8],
        row: format!(r#"{{"round":{round}}}"#),
        client_rows: format!("a {round}\nb {round}\n"),
        ledger: format!(r#"{{"bytes":{round}}}"#),
    }
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
        journal.close_round(&closed(1, 40), &[(3, vec![3]), (4, vec![4])]).unwrap();
        journal.put_updates(2, &[update(5, 0), update(1, 300_000)]).unwrap();
        journal.close_round(&closed(2, 50), &[(4, vec![5; 9])]).unwrap();
        journal.put_updates(3, &[update(2, 7)]).unwrap();
        journal.put_updates(3, &[update(0, 9), update(2, 8)]).unwrap();
        assert!(journal.last_commit_seconds() > 0.0);
    }
    let (journal, run) = Journal::open(&path).unwrap();
    assert_eq!(run, record());
    assert_eq!(journal.latest().unwrap(), Some(closed(2, 50)));
    assert_eq!(journal.rows().unwrap(), [closed(1, 0).row, closed(2, 0).row]);
    assert_eq!(journal.client_rows().unwrap(), closed(1, 0).client_rows + &closed(2, 0).client_rows);
    assert_eq!(journal.client_state(3).unwrap(), Some(vec![3]));
    assert_eq!(journal.client_state(4).unwrap(), Some(vec![5; 9]));
    assert_eq!(journal.client_state(5).unwrap(), None);
    assert_eq!(updates(&journal, 2), []);
    assert_eq!(updates(&journal, 3), [update(0, 9), update(2, 8)]);
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
    assert!(text(open()).ends_with("has journal format 9, this build reads format 1"));
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
            journal.close_round(&closed(round, 20_000), &[(0, vec![round as u8])]).unwrap();
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
            assert_eq!(journal.client_state(0).unwrap(), Some(vec![round as u8]));
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
