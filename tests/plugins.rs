//! From an idea to a curve in every language, with the commands that a user types: `plugin new`, `build`, `check`, and a run
//! of two rounds. A language whose compiler this machine lacks is skipped, which is said.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Instant;

/// A place to work in that later runs find again: compilers keep what they made.
fn workshop() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("policies")
}

fn cellm(arguments: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_cellm")).current_dir(workshop()).args(arguments).output();
    output.expect("cellm starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs a command that must succeed; says how long it took and gives what it printed.
fn done(arguments: &[&str]) -> String {
    let started = Instant::now();
    let output = cellm(arguments);
    assert!(output.status.success(), "cellm {}\n{}{}", arguments.join(" "), text(&output.stdout), text(&output.stderr));
    eprintln!("{:6.1} s  cellm {}", started.elapsed().as_secs_f64(), arguments.join(" "));
    text(&output.stdout)
}

/// Makes and builds a project; false if there is no compiler.
fn built(name: &str, language: &str, kind: &str) -> bool {
    built_with(name, language, kind, &[])
}

/// The same with changes of its source, each from one text to another.
fn built_with(name: &str, language: &str, kind: &str, changes: &[(&str, &str)]) -> bool {
    std::fs::create_dir_all(workshop()).unwrap();
    let dir = workshop().join(name);
    if dir.exists() {
        std::fs::remove_dir_all(&dir).unwrap();
    }
    done(&["plugin", "new", name, "--lang", language, "--kind", kind]);
    let again = cellm(&["plugin", "new", name, "--lang", language]);
    assert_eq!(again.status.code(), Some(2), "a project is never written over");
    let source = dir.join(match language {
        "rust" => "src/lib.rs",
        "python" => "policy.py",
        _ => "policy.c",
    });
    for (from, to) in changes {
        let text = std::fs::read_to_string(&source).unwrap();
        assert!(text.contains(from), "{from} in {text}");
        std::fs::write(&source, text.replace(from, to)).unwrap();
    }
    let output = cellm(&["plugin", "build", name]);
    if output.status.code() == Some(4) && text(&output.stderr).contains("no compiler for") {
        eprintln!("skipped, {}", text(&output.stderr));
        return false;
    }
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    assert!(text(&output.stdout).contains(&format!("policy  {name} 0.1.0, {kind}")), "{}", text(&output.stdout));
    true
}

fn checked(name: &str) -> String {
    let findings = done(&["plugin", "check", &format!("{name}/{name}.wasm")]);
    assert!(findings.lines().count() > 5 && !findings.contains("failed"), "{findings}");
    findings
}

/// Checks a policy and runs two small rounds with it; gives the summary.
fn checked_and_run(name: &str, key: &str) -> serde_json::Value {
    checked(name);
    let file = format!("{name}/{name}.wasm");
    let out = workshop().join(format!("{name}-run"));
    let summary = two_rounds(&out, &format!("{key}={file}"));
    assert_eq!(summary["rounds"], 2);
    assert!(summary["eval_loss_after"].as_f64() < summary["eval_loss_before"].as_f64(), "{summary}");
    summary
}

fn two_rounds(out: &Path, policy: &str) -> serde_json::Value {
    let _ = std::fs::remove_dir_all(out);
    let mut arguments = vec!["run", "-q", "--json", "--out", out.to_str().unwrap(), "--set", policy];
    for small in ["run.rounds=2", "server.cohort=3", "client.steps=2"] {
        arguments.extend(["--set", small]);
    }
    let printed = done(&arguments);
    serde_json::from_str(printed.lines().last().unwrap()).unwrap()
}

fn compressor(language: &str) {
    let name = format!("{language}-compressor");
    if built(&name, language, "compressor") {
        let summary = checked_and_run(&name, "upload.policy");
        // The templates do what the built-in policy does by default, so the same adapter comes out, to the bit.
        let builtin = two_rounds(&workshop().join(format!("{name}-flasc-run")), "upload.policy=flasc");
        assert_eq!(summary["adapter_hash"], builtin["adapter_hash"]);
        assert_eq!(summary["bytes_up"], builtin["bytes_up"]);
    }
}

/// Changes a policy so that it does not build; its old component must be gone. What the build said.
fn broken(name: &str, source: &str, from: &str, to: &str) -> String {
    let file = workshop().join(name).join(source);
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains(from), "{text}");
    std::fs::write(&file, text.replace(from, to)).unwrap();
    let output = cellm(&["plugin", "build", name]);
    assert_eq!(output.status.code(), Some(4), "{}", text_of(&output));
    assert!(!workshop().join(name).join(format!("{name}.wasm")).exists(), "the component of the last build");
    text_of(&output)
}

fn text_of(output: &Output) -> String {
    text(&output.stdout) + &text(&output.stderr)
}

#[test]
fn a_misspelt_hook_in_c_is_named_and_the_old_component_goes() {
    if built("c-misspelt", "c", "compressor") {
        let said = broken("c-misspelt", "policy.c", "exports_compressing_encode(", "exports_compressing_encod(");
        assert!(said.contains("policy.c defines no exports_compressing_encode;"), "{said}");
    }
}

#[test]
fn an_unknown_option_in_c_is_a_typed_error() {
    if built("c-option", "c", "compressor") {
        let file = workshop().join("c-option/policy.c");
        let source = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, source.replace(r#"options->len, "decay""#, r#"options->len, "dekay""#)).unwrap();
        done(&["plugin", "build", "c-option"]);
        let output = cellm(&["plugin", "check", "c-option/c-option.wasm"]);
        let said = text_of(&output);
        assert!(output.status.code() == Some(4) && said.contains("option dekay is not declared"), "{said}");
    }
}

#[test]
fn what_a_policy_in_c_says_when_it_gives_up_is_told() {
    if built("c-gives-up", "c", "compressor") {
        let file = workshop().join("c-gives-up/policy.c");
        let source = std::fs::read_to_string(&file).unwrap();
        let at = source.find("bool exports_compressing_encode").unwrap();
        let body = at + source[at..].find('{').unwrap() + 1;
        let (head, rest) = source.split_at(body);
        std::fs::write(&file, format!("{head}\n    say(\"one line\");\n    give_up(\"no way on\");{rest}")).unwrap();
        done(&["plugin", "build", "c-gives-up"]);
        let output = cellm(&["plugin", "check", "c-gives-up/c-gives-up.wasm"]);
        let said = text_of(&output);
        assert!(output.status.code() == Some(4) && said.contains("trapped in encode: no way on: "), "{said}");
        assert!(said.contains("says") && said.contains("the first: one line"), "{said}");
    }
}

#[test]
fn a_policy_that_cannot_be_measured_ends_with_the_code_of_policies() {
    std::fs::create_dir_all(workshop()).unwrap();
    let output = cellm(&["plugin", "bench", "fedavg"]);
    assert_eq!(output.status.code(), Some(4));
    assert!(text(&output.stderr).contains("fedavg cannot be measured: it is an aggregator"), "{}", text_of(&output));
}

#[test]
fn a_warning_is_said_once_on_stderr_and_once_in_the_log() {
    std::fs::create_dir_all(workshop()).unwrap();
    let out = workshop().join("warned-run");
    let _ = std::fs::remove_dir_all(&out);
    let mut arguments = vec!["run", "--out", out.to_str().unwrap()];
    let sparse = ["upload.policy=stc", "upload.bits=1", "upload.density=0.001"];
    for set in ["client.trainer=noop", "run.rounds=1", "server.cohort=2"].into_iter().chain(sparse) {
        arguments.extend(["--set", set]);
    }
    let output = cellm(&arguments);
    let said = text(&output.stderr);
    let warnings: Vec<&str> = said.lines().filter(|line| line.contains("WARN")).collect();
    assert!(!warnings.is_empty(), "stc without error feedback: {said}");
    assert!(warnings.iter().all(|one| warnings.iter().filter(|other| *other == one).count() == 1), "{said}");
    let log = std::fs::read_to_string(out.join("log.jsonl")).unwrap();
    assert_eq!(log.lines().filter(|line| line.contains("\"WARN\"")).count(), warnings.len(), "{log}");
}

#[test]
fn an_idea_in_c_becomes_a_curve() {
    compressor("c");
    if built("c-aggregator", "c", "aggregator") {
        checked_and_run("c-aggregator", "aggregate.policy");
    }
}

#[test]
fn an_idea_in_python_becomes_a_curve() {
    compressor("python");
    // It prints, and one value of its option makes it hand over a text where a number belongs.
    let changes = [
        (
            "        norm = update.norm()\n",
            "        norm = update.norm()\n        print(\"client\", info.client, info.loss)\n",
        ),
        ("self.sum.axpy(self.clip", "self.sum.axpy(\"much\" if self.clip == 1e9 else self.clip"),
    ];
    if built_with("python-aggregator", "python", "aggregator", &changes) {
        let findings = checked("python-aggregator");
        assert!(findings.contains("says") && findings.contains("the first: client 0 2.0; client 1 2.1"), "{findings}");
        let mut arguments = vec!["run", "-q", "--set", "run.rounds=1", "--set", "server.cohort=2"];
        let out = workshop().join("python-aggregator-run");
        let _ = std::fs::remove_dir_all(&out);
        arguments.extend(["--out", out.to_str().unwrap(), "--set", "client.trainer=noop"]);
        arguments.extend(["--set", "aggregate.policy=python-aggregator/python-aggregator.wasm"]);
        arguments.extend(["--set", "aggregate.options.clip=1e9"]);
        cellm(&arguments);
        let log = std::fs::read_to_string(out.join("log.jsonl")).unwrap();
        let line = "policy.py, line 24: TypeError: axpy: a is of type str, expected float";
        assert!(log.contains(line), "{log}");
        assert!(log.contains("\"said\":\"client "), "what it prints: {log}");
        let said = broken("python-aggregator", "policy.py", "def finish(", "def finis(");
        assert!(said.contains("Idea has no finish, which aggregating asks for"), "{said}");
        let said = broken("python-aggregator", "policy.py", "import cellm\n", "import cellm\nimport numpy\n");
        assert!(said.contains("No module named 'numpy'; a policy has the standard library"), "{said}");
    }
}

#[test]
fn an_idea_in_rust_becomes_a_curve() {
    compressor("rust");
    if built("rust-aggregator", "rust", "aggregator") {
        checked("rust-aggregator");
    }
    let project = workshop().join("rust-compressor");
    if !project.join("rust-compressor.wasm").exists() {
        return;
    }
    let mut natively = Command::new(env!("CARGO"));
    natively.current_dir(&project).arg("test").env("CARGO_TARGET_DIR", workshop().join("native"));
    let output = natively.output().unwrap();
    assert!(output.status.success() && text(&output.stdout).contains("1 passed"), "{}", text(&output.stderr));
}
